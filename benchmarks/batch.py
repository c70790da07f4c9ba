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
from bandits.model_file import unseal
from benchmarks import figures
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
    for _ in range(rounds):
        own = bare.rate()
        for connections in CONNECTIONS:
            load = closed_loop(rig.port, requests, connections=connections, count=CALLS)
            rates[connections].append((load.rate * PER_CALL, own))
    bare.close()
    figures.title("2. batch: durable decisions/s, 1,000 a call, over Vowpal Wabbit's predictions in a bare loop")
    for connections in CONNECTIONS:
        name = f"POST /v1/decide/batch, {connections} at a time"
        figures.ratio(name, rates[connections], "/s", "Vowpal Wabbit alone, texts ready", AIM)


class BareLoop:
    """The same model and the same examples as text, without our code around the call."""

    def __init__(self, rig: Rig, workload: Workload) -> None:
        self._texts = texts(workload)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            path.write_bytes(unseal(serving_model(rig)).payload)
            self._workspace: Any = vowpalwabbit.Workspace(arg_list=["-t", "--quiet", "-i", str(path)])

    def rate(self) -> float:
        """Predictions per second."""
        predict = self._workspace.predict
        began = time.perf_counter()
        for text in self._texts:
            predict(text)
        return len(self._texts) / (time.perf_counter() - began)

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
