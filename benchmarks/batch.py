"""Decisions per second through the batch endpoint over Vowpal Wabbit's own predictions in a bare loop."""

import tempfile
import time
from pathlib import Path
from typing import Any

import vowpalwabbit

from app.foundation.store.engine import transaction
from app.registry import signed_bytes as model_bytes
from app.registry.store import models
from bandits.encoding import encode_action, encode_context
from bandits.learner.vw_learner import inner_model
from bandits.model_file import unseal
from bandits.policy import BanditPolicy, parse_policy
from benchmarks import figures
from benchmarks.decide import cpu_s, postgres_pids
from benchmarks.load import closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

PER_CALL = 1000
CALLS = 12
CONNECTIONS = (1, 2)  # with two, the server decides one call while it stores the other
AIM = 0.6


def measure(rig: Rig, rounds: int) -> None:
    """Print the ratio for one connection and for two."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    requests = [
        rig.request("/v1/decide/batch", {"decisions": [workload.request("bench", start + n) for n in range(PER_CALL)]})
        for start in range(0, 4 * PER_CALL, PER_CALL)
    ]
    bare = BareLoop(rig, workload)
    rates: dict[int, list[tuple[float, float]]] = {connections: [] for connections in CONNECTIONS}
    spent: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        own, own_us = bare.rate()
        for connections in CONNECTIONS:
            web, database = cpu_s([rig.web_pid]), cpu_s(postgres_pids(rig))
            load = closed_loop(rig.port, requests, connections=connections, count=CALLS)
            web, database = cpu_s([rig.web_pid]) - web, cpu_s(postgres_pids(rig)) - database
            rates[connections].append((load.rate * PER_CALL, own))
            decisions = load.answers * PER_CALL
            spent.append((1e6 * web / decisions, 1e6 * database / decisions, own_us))
    bare.close()
    figures.title("2. batch: durable decisions/s, 1,000 a call, over Vowpal Wabbit's predictions in a bare loop")
    for connections in CONNECTIONS:
        name = f"POST /v1/decide/batch, {connections} at a time"
        figures.ratio(name, rates[connections], "/s", "Vowpal Wabbit alone, texts ready", AIM)
    web_us, postgres_us, own_us = (figures.median(values) for values in zip(*spent, strict=True))
    note = f"and {postgres_us:.0f} us of PostgreSQL; Vowpal Wabbit alone {own_us:.0f} us"
    figures.line("CPU of the web process per decision", f"{web_us:.0f} us", note)


class BareLoop:
    """The same model and the same examples as text, without our code around the call."""

    def __init__(self, rig: Rig, workload: Workload) -> None:
        self._texts = texts(workload)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            policy = parse_policy(workload.policy)
            assert isinstance(policy, BanditPolicy)
            path.write_bytes(unseal(inner_model(serving_model(rig), policy)).payload)
            self._workspace: Any = vowpalwabbit.Workspace(arg_list=["-t", "--quiet", "-i", str(path)])

    def rate(self) -> tuple[float, float]:
        """Predictions per second, and microseconds of CPU of each."""
        predict = self._workspace.predict
        began, cpu = time.perf_counter(), time.thread_time()
        for text in self._texts:
            predict(text)
        seconds, cpu = time.perf_counter() - began, time.thread_time() - cpu
        return len(self._texts) / seconds, 1e6 * cpu / len(self._texts)

    def close(self) -> None:
        """Free the model."""
        self._workspace.finish()


def texts(workload: Workload) -> list[str]:
    """Each context with all actions, in VW's text format."""
    actions = [
        encode_action(action["id"], action["features"]) for action in workload.definition("bench", 1.0)["actions"]
    ]
    return ["\n".join([encode_context(context), *actions]) for context in workload.contexts]


def serving_model(rig: Rig) -> bytes:
    """The bytes of the only model that serves."""
    with transaction(rig.engine) as connection:
        (serving,) = models.serving(connection)
        return model_bytes.load(connection, serving.version_id, rig.settings.secret_key)[1]
