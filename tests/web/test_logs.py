"""Logs of real roles: one JSON object a line, with the request's ids, little when nothing happens, and nobody's data."""

import json
import time
from typing import Any

import pytest

from tests.service import Web, make_key, running_web, running_worker, wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
IDLE_S = 20.0
MOST_AN_HOUR = 200_000  # bytes, when nothing happens


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_answer_repeats_the_id_of_its_request_or_has_a_new_one(web: Web) -> None:
    client = web.client()
    assert client.get("/healthz", **{"X-Request-Id": "shop-17:a/b"}).headers["X-Request-Id"] == "shop-17:a/b"
    made = {client.get("/healthz").headers["X-Request-Id"] for _ in range(3)}
    assert len(made) == 3
    for hostile in ("a b", "<script>", "x" * 129, 'q"'):
        answer = client.get("/nowhere", **{"X-Request-Id": hostile}).headers["X-Request-Id"]
        assert answer != hostile
        assert len(answer) == 32


def test_every_line_of_a_web_server_is_one_object_and_the_access_log_names_nobody(database_url: str) -> None:
    with running_web(database_url, LOOPWISE_ACCESS_LOG="1", LOOPWISE_LOG_LEVEL="debug") as web:
        client = web.client(make_key(database_url))
        headers = {"X-Request-Id": "call-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        assert client.get("/v1/consent/ann@example.org?who=ann", **headers).status in (200, 404)
        assert client.get("/ann@example.org", **{"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}).status == 404
        log = wait_for(lambda: '"status":404' in web.log() and web.log(), 5)
        lines = {line.get("request_id"): line for line in _lines(log) if line["event"] == "request"}
        assert lines["call-1"]["trace_id"] == TRACE
        assert lines["call-1"]["route"].startswith("/v1/consent/<")
        assert lines["call-1"]["method"] == "GET"
        assert 0 <= lines["call-1"]["seconds"] < 5
        assert [line for line in lines.values() if "trace_id" in line] == [lines["call-1"]]
        assert "ann" not in log
        assert all({"event", "level", "timestamp"} <= line.keys() for line in _lines(log))


@pytest.mark.slow
def test_a_worker_and_its_clock_write_objects_and_hardly_any_while_nothing_happens(
    database_url: str, redis_url: str
) -> None:
    with running_worker(database_url, redis_url, LOOPWISE_BEAT_INTERVAL_S="1") as worker:
        wait_for(lambda: "ready" in worker.log(), 60, "the worker")
        time.sleep(3)
        before = len(worker.log())
        time.sleep(IDLE_S)
        idle = worker.log()[before:]
        for process in worker.processes.values():
            process.terminate()
            process.wait(20)
        lines = _lines(worker.log())
    assert len(idle) / IDLE_S * 3600 < MOST_AN_HOUR, idle
    assert {"celery.apps.worker", "celery"} <= {line["logger"] for line in lines}
    assert any("shutdown" in line["event"].lower() for line in lines)
