"""Evaluations as jobs: each is computed once, by whoever is alive; through HTTP and a real worker."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from tests.lab import Lab, arm, sound
from tests.service import ROOT, SECRET, make_key, query, running_web, running_worker, wait_for

BANDIT = {"type": "bandit", "algorithm": "epsilon_greedy", "parameters": {"bits": 12}, "exploration_floor": 0.1}
SLOW_WORKER = """
import time
from app.off_policy import evaluations
from app.off_policy.store import evaluations as store
from app.foundation.store.engine import create
from app.foundation.settings import from_environment
real = store.advance
def advance(connection, evaluation_id, progress):
    real(connection, evaluation_id, progress)
    if progress > 0.2:
        connection.commit()
        time.sleep(600)
store.advance = advance
settings = from_environment()
evaluations.run_waiting(create(settings.database_url, settings), settings)
"""


@pytest.fixture(scope="module")
def log(lab: Lab) -> str:
    lab.make("jobs", arms=[arm("learned", 0.5, BANDIT), arm("control", 0.5)], control_arm="control")
    for turn in range(2):
        bodies = [{"unit_id": f"{turn}-{n}", "context": {"n": n % 3}} for n in range(300)]
        lab.play("jobs", bodies, lambda _, one: float(one["action"]["id"] == "b"))
    return "jobs"


def ask(lab: Lab, key: str) -> int:
    return int(evaluations.ask(lab.runtime.engine, key, EvaluationRequest(), "test").id)


def status(lab: Lab, evaluation_id: int) -> str:
    return str(query(lab.database_url, "SELECT status FROM evaluations WHERE id = %s", evaluation_id)[0][0])


def test_an_evaluation_whose_worker_was_killed_is_computed_by_the_next(lab: Lab, log: str) -> None:
    evaluation_id = ask(lab, log)
    environment = {"DATABASE_URL": lab.database_url, "LOOPWISE_SECRET_KEY": SECRET, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SLOW_WORKER], env={**os.environ, **environment})
    try:
        progress = "SELECT progress > 0.2 FROM evaluations WHERE id = %s"
        wait_for(lambda: query(lab.database_url, progress, evaluation_id) == [(True,)], 60, "the evaluation's progress")
        assert status(lab, evaluation_id) == "running"
        assert evaluations.run_waiting(lab.runtime.engine, lab.settings) == 0  # somebody is at it
        assert status(lab, evaluation_id) == "running"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    wait_for(lambda: evaluations.run_waiting(lab.runtime.engine, lab.settings) == 1, 20, "the next worker's turn")
    found = sound(evaluations.get(lab.runtime.engine, log, evaluation_id).as_json())
    assert (found["status"], found["progress"]) == ("done", 1.0) and found["result"]["policies"]
    assert evaluations.run_waiting(lab.runtime.engine, lab.settings) == 0


def test_no_evaluation_is_computed_twice(lab: Lab, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [ask(lab, log) for _ in range(4)]
    computed: Counter[int] = Counter()
    lock, real = threading.Lock(), evaluations._compute

    def compute(connection: Any, settings: Any, row: Any, progress: Any) -> dict[str, Any]:
        with lock:
            computed[row.id] += 1
        return real(connection, settings, row, progress)

    monkeypatch.setattr(evaluations, "_compute", compute)
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: evaluations.run_waiting(lab.runtime.engine, lab.settings), range(3)))
    assert sum(done) == 4 and computed == Counter(wanted)
    results = [evaluations.get(lab.runtime.engine, log, one).result for one in wanted]
    assert results[0] and all(one == results[0] for one in results)


def test_a_fault_fails_one_evaluation_and_not_the_next(lab: Lab, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, fine = ask(lab, log), ask(lab, log)
    real = evaluations._compute

    def compute(connection: Any, settings: Any, row: Any, progress: Any) -> dict[str, Any]:
        return {} if 1 / (row.id - broken) < 0 else real(connection, settings, row, progress)

    monkeypatch.setattr(evaluations, "_compute", compute)
    assert evaluations.run_waiting(lab.runtime.engine, lab.settings) == 2
    failed = evaluations.get(lab.runtime.engine, log, broken).as_json()
    assert failed["status"] == "failed" and "fault of Loopwise" in failed["error"] and failed["result"] is None
    assert evaluations.get(lab.runtime.engine, log, fine).status == "done"
    assert evaluations.run_waiting(lab.runtime.engine, lab.settings) == 0
    newest = evaluations.newest(lab.runtime.engine, log)
    assert [one.id for one in newest[:2]] == [fine, broken]


def test_results_and_evaluations_through_the_web_server_and_a_worker(lab: Lab, log: str, redis_url: str) -> None:
    key = make_key(lab.database_url)
    with running_web(lab.database_url) as web, running_worker(lab.database_url, redis_url):
        client = web.client(key)
        path = f"/v1/experiments/{log}"
        candidate = {"key": "always-b", "policy": {"type": "fixed", "action": "b"}}
        assert client.post(f"{path}/candidates", candidate).status == 201
        assert client.get(f"{path}/candidates").body == {
            "candidates": [candidate | {"model": None, "features_off": []}]
        }
        refused = client.post(f"{path}/evaluations", {"candidates": ["ghost"]})
        assert refused.status == 422 and "ghost" in refused.body["detail"]
        asked = client.post(f"{path}/evaluations", {"train_share": 0.4})
        assert asked.status == 202 and asked.body["status"] == "queued"
        where = f"{path}/evaluations/{asked.body['id']}"
        wait_for(lambda: client.get(where).body["status"] == "done", 60, "the evaluation")
        found = sound(client.get(where).body)
        assert [line["policy"] for line in found["result"]["policies"]][-1] == "always-b"
        assert found["result"]["window"]["trained_on"] == 240
        assert client.get(f"{path}/evaluations").body["evaluations"][0]["id"] == asked.body["id"]
        assert client.get(f"{path}/evaluations/999999").status == 404
        report = client.get(f"{path}/results?method=fixed")
        assert report.status == 200 and sound(report.body)["method"] == "fixed"
        assert sound(client.get(f"{path}/health-checks").body)["ok"]
        for wrong in ("results?method=vibes", "results?segment=mood", "health-checks?segment=mood"):
            assert client.get(f"{path}/{wrong}").status == 422
