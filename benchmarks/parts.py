"""The cost of each part of a decide request, measured alone, one after the other, on requests of the benchmark.

The rest is the time that the web process spends beyond these parts under load, when its threads take turns.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import orjson

from app.accounts import keys
from app.deciding.answer import answer_of
from app.deciding.plan import plan
from app.deciding.prepare import prepare
from app.deciding.requests import DecideRequest, identify
from app.deciding.runtime import Runtime, start
from app.deciding.store import decisions
from app.foundation.formats import strict_json
from app.foundation.running.steps import run
from app.foundation.store.engine import transaction
from bandits import distribution as draws
from bandits.encoding import encode_context
from benchmarks import figures
from benchmarks.rig import Rig
from benchmarks.workload import Workload

REQUESTS = 2000
COMMIT = "commit"
COMMIT_ROWS = 16  # about as many rows as a commit of 32 connections has


def measure(rig: Rig, workload: Workload, experiment: str, plain_us: float, whole_us: float) -> None:
    """Print the parts.

    :param plain_us: CPU of a request through Flask that does nothing, in microseconds.
    :param whole_us: CPU of a decision under load, in microseconds.
    """
    runtime = start(rig.settings)
    try:
        figures.title(f"   the parts of one decision, alone in one thread ({REQUESTS:,} requests)")
        parts = _parts(runtime, rig.key, workload, experiment)
        waiting_us = parts.pop(COMMIT)
        spent = list(parts.items())
        for name, microseconds in [("HTTP server, Flask, counting (all of GET /healthz)", plain_us), *spent]:
            figures.line(name, f"{microseconds:.1f} us")
        rest_us = whole_us - plain_us - sum(microseconds for _, microseconds in spent)
        figures.line("rest: a body through Flask, threads' turns, cold caches", f"{rest_us:.1f} us")
        figures.line(f"besides, waiting: one commit of {COMMIT_ROWS} rows", f"{waiting_us / 1000:.1f} ms")
    finally:
        runtime.stop()


def _parts(runtime: Runtime, key: str, workload: Workload, name: str) -> dict[str, float]:
    bodies = [orjson.dumps(workload.request(name, n)) for n in range(REQUESTS)]
    caller = keys.Caller(*(keys.parse(key)[0], frozenset({"decide"}), None))
    spent: dict[str, float] = {}

    def timed(part: str, work: Callable[[Any], Any], items: list[Any], each: int = 1) -> list[Any]:
        results, seconds = [], []
        for item in items:
            began = time.perf_counter()
            results.append(work(item))
            seconds.append(time.perf_counter() - began)
        spent[part] = 1e6 * median(seconds) / each  # a mean would include the time of other processes
        return results

    stored = runtime.snapshots.current.keys[keys.parse(key)[0]]
    timed("authorisation: the key's form, hash, scope", lambda _: keys.matches(stored, keys.parse(key)[1]), bodies)
    documents = timed("JSON, duplicate keys, depth", lambda body: strict_json.parse(body, 32), bodies)
    requests = timed("validation", DecideRequest.model_validate, documents)
    identified = timed(
        "id, hash of the body", lambda pair: identify(*pair), list(zip(requests, documents, strict=True))
    )
    experiment = runtime.snapshots.current.experiments[name]
    timed("arm", lambda r: draws.assign(experiment.salt, r.unit_id, experiment.shares), requests)
    lines = timed("encoding", lambda r: encode_context(r.context), requests)
    (arm,) = experiment.arms.values()
    serving = runtime.snapshots.current.serving[experiment.id, arm.key]
    predictor = runtime.models.get(serving, arm.policy).predictor  # type: ignore[arg-type]
    assert predictor is not None
    scores = timed("Vowpal Wabbit", lambda line: predictor.own(line, experiment.candidates.lines), lines)
    mixed = timed("floor", lambda p: draws.mix_floor(p[0], arm.policy.exploration_floor).tolist(), scores)  # type: ignore[union-attr]
    timed("draw, choice", lambda p: draws.sample(p, draws.draw(experiment.salt, "0" * 32)), mixed)
    whole = "whole plan"
    plans = timed(whole, lambda item: plan(runtime, run(prepare(runtime, caller, experiment, item)), None), identified)
    rows = [plan.row for plan in plans]
    planned = ("arm", "encoding", "Vowpal Wabbit", "floor", "draw, choice")
    spent["the row, the glue between these"] = spent.pop(whole) - sum(spent[part] for part in planned)
    batches = [rows[at : at + COMMIT_ROWS] for at in range(0, len(rows), COMMIT_ROWS)]
    timed(
        "the writer's Python: JSON of the rows", lambda b: orjson.dumps([r._asdict() for r in b]), batches, COMMIT_ROWS
    )
    timed("the answer", lambda row: orjson.dumps(answer_of([row], [None], None, composed=False)), rows)
    timed(COMMIT, lambda batch: _commit(runtime, batch), batches)
    return spent


def _commit(runtime: Runtime, rows: list[decisions.NewDecision]) -> None:
    with transaction(runtime.engine) as connection:
        decisions.insert_new(connection, rows)
