"""What the guardian's watches cost beside training: seconds of a look over seconds of the round whose outcomes it sees."""

import gc
import time

from app.guardian import context, watching
from app.learning import training
from benchmarks import figures
from benchmarks.rig import Rig
from benchmarks.workload import Workload

DECISIONS = 2_000
WARM = 2  # rounds before the first that counts: a context is not watched before it is known
AIM = 0.05


def measure(rig: Rig, rounds: int) -> None:
    """Print the ratio. The worker looks less often than here: for at most one part in twenty of its time."""
    workload = Workload(algorithm="auto")
    rig.make_experiment(workload, "watched")
    both = []
    gc.collect()
    gc.freeze()  # as the worker's processes do
    for number in range(WARM + rounds):
        rig.feed(workload, ["watched"], DECISIONS)
        ((experiment_id, arm),) = training.due_arms(rig.engine)
        began = time.perf_counter()
        done = training.train_round(rig.engine, rig.settings, experiment_id, arm)
        round_s = time.perf_counter() - began
        if done is None or done.decisions != DECISIONS:
            raise RuntimeError(f"the round ended with {done}")
        began = time.perf_counter()
        watching.look(rig.engine, "watched")
        context.look(rig.engine, "watched")
        if number >= WARM:
            both.append((1000 * (time.perf_counter() - began), 1000 * round_s))
    figures.title(f"11. watching: {DECISIONS:,} outcomes, after each round")
    figures.ratio("looks of the guardian", both, " ms", "training round of the default learner", AIM)
