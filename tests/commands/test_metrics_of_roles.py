"""One /metrics shows what every role of a machine counts; a worker elsewhere answers for itself."""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.process import free_port
from tests.messaging.trigger_support import Triggers
from tests.service import Client, Loop, Web, Worker, make_key, query, running_web, wait_for

TOKEN = "let me see the metrics"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def web(database_url: str, folder: Path) -> Iterator[Web]:
    with running_web(database_url, LOOPWISE_METRICS_DIR=str(folder), LOOPWISE_METRICS_TOKEN=TOKEN) as server:
        yield server


def _counted(text: str, name: str, **labels: str) -> dict[str, float]:
    """By role, the sum of a counter's lines with these labels."""
    sums: dict[str, float] = {}
    for line in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE):
        found = dict(re.findall(r'(\w+)="([^"]*)"', line[0]))
        if labels.items() <= found.items():
            sums[found["role"]] = sums.get(found["role"], 0.0) + float(line[1])
    return sums


def _decided(web: Web) -> dict[str, float]:
    text = web.client().get("/metrics", Authorization=f"Bearer {TOKEN}").raw.decode()
    return _counted(text, "loopwise_decisions_total", experiment="tips")


def _said(database_url: str) -> int:
    return int(query(database_url, "SELECT count(*) FROM decisions")[0][0])


@pytest.mark.slow
def test_decisions_of_triggers_and_failures_of_figures_are_counted(
    loop: Loop, web: Web, folder: Path, database_url: str, redis_url: str
) -> None:
    triggers = Triggers(loop)
    number = triggers.experiment("tips")
    triggers.define("hello", {"type": "event", "event": "came"})
    client: Client = web.client(make_key(database_url))
    for unit in range(3):
        assert client.decide("tips", f"asked-{unit}").status == 201
    port = free_port()
    shared = {"LOOPWISE_METRICS_DIR": str(folder), "LOOPWISE_METRICS_TOKEN": TOKEN}
    worker = Worker(database_url, redis_url, **shared)
    try:
        worker.start()
        events = [{"unit_id": f"came-{unit}", "name": "came", "event_id": f"e{unit}"} for unit in range(5)]
        assert client.post("/v1/events", {"events": events}).status == 201
        wait_for(lambda: _said(database_url) == 8, 60, "the triggered messages")
        wait_for(lambda: _decided(web) == {"web": 3.0, "worker": 5.0}, 10, "all eight decisions")
        # A report whose document cannot be read fails, whatever it is.
        query(database_url, "UPDATE reports SET body = '{}' WHERE experiment_id = %s", number)
        query(
            database_url,
            "INSERT INTO latest (experiment_id, kind, summary, body, seconds, computed_at) "
            "VALUES (%s, 'guardian', '{}', '{}', 0, now() - interval '1 hour') "
            "ON CONFLICT (experiment_id, kind) DO UPDATE SET body = '{}', computed_at = excluded.computed_at",
            number,
        )

        def failures() -> dict[str, float]:
            text = web.client().get("/metrics", Authorization=f"Bearer {TOKEN}").raw.decode()
            return _counted(text, "loopwise_experiment_failures_total", kind="guardian")

        wait_for(lambda: failures().get("worker", 0) >= 1, 60, "the failure")
        worker.kill()
        worker.start("worker")
        wait_for(lambda: "worker" not in _decided(web), 60, "the new worker")
        assert _decided(web) == {"web": 3.0}, "its counters begin again, and those of the web role go on"
        worker.kill()
        _alone(worker, port)
    finally:
        worker.stop()


def _alone(worker: Worker, port: int) -> None:
    """A worker that answers for itself shows its own counters to those who know the token."""
    worker.start_with("worker", "--metrics-port", str(port))

    def answer(path: str = "/metrics", token: str = TOKEN) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    wait_for(lambda: answer()[0] == 200, 60, "its metrics")
    assert answer(token="a guess")[0] == 401 and answer("/admin/")[0] == 404
    wait_for(lambda: "loopwise_" in answer()[1], 60, "something that it counted")
    assert 'role="web"' not in answer()[1] and 'role="worker"' in answer()[1]
