"""Joined decisions learned per second from PostgreSQL over Vowpal Wabbit's own rate from a file of the same examples."""

import tempfile
import time
from pathlib import Path
from typing import Any

import vowpalwabbit

from app.foundation.store.engine import transaction
from app.learning import training
from app.learning.examples import Configs, example_of
from app.learning.store import training as store
from app.registry import signed_bytes as model_bytes
from app.registry.store import models
from bandits.arguments import runtime_arguments
from bandits.examples import example_text
from bandits.learner.vw_learner import inner_model
from bandits.model_file import unseal
from bandits.policy import BanditPolicy, parse_policy
from benchmarks import figures
from benchmarks.decide import cpu_s, postgres_pids
from benchmarks.rig import Rig
from benchmarks.workload import Workload

DECISIONS = 20_000
AIM = 0.5


def measure(rig: Rig, rounds: int) -> None:
    """Print the ratio: a round is reading, joining, encoding, learning, checking and storing."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    policy = parse_policy(workload.definition("bench", 1.0)["arms"][0]["policy"])
    assert isinstance(policy, BanditPolicy)
    both, spent = [], []
    for _ in range(rounds):
        rig.feed(workload, ["bench"], DECISIONS)
        rig.query("VACUUM ANALYZE")
        ((experiment_id, arm),) = training.due_arms(rig.engine)
        began, own, database = time.perf_counter(), time.process_time(), cpu_s(postgres_pids(rig))
        done = training.train_round(rig.engine, rig.settings, experiment_id, arm)
        ours = time.perf_counter() - began
        own, database = time.process_time() - own, cpu_s(postgres_pids(rig)) - database
        if done is None or not done.promoted or done.decisions != DECISIONS:
            raise RuntimeError(f"the round ended with {done}")
        alone_s, alone_cpu_s = _own_s(rig, policy)
        both.append((DECISIONS / ours, DECISIONS / alone_s))
        spent.append((own, database, alone_cpu_s))
    figures.title(f"3. learning: {DECISIONS:,} rewarded decisions, from PostgreSQL into a model that serves")
    figures.ratio("train_round", both, "/s", "Vowpal Wabbit alone, from a file", AIM)
    worker, database, own = (1e6 * figures.median(values) / DECISIONS for values in zip(*spent, strict=True))
    note = f"and {database:.0f} us of PostgreSQL; Vowpal Wabbit alone {own:.0f} us"
    figures.line("CPU of the worker per decision", f"{worker:.0f} us", note)


def _own_s(rig: Rig, policy: BanditPolicy) -> tuple[float, float]:
    """Seconds, and seconds of CPU, in which VW learns what the newest version learned, its parent and examples ready as files."""
    with transaction(rig.engine) as connection, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(rig, connection, folder, policy)
        arguments = [*runtime_arguments(policy).split(), "-i", str(folder / "parent"), "-d", str(folder / "examples")]
        began, cpu = time.perf_counter(), time.process_time()
        vowpalwabbit.Workspace(arg_list=[*arguments, "-f", str(folder / "child")]).finish()
        return time.perf_counter() - began, time.process_time() - cpu


def _write(rig: Rig, connection: Any, folder: Path, policy: BanditPolicy) -> None:
    (serving,) = models.serving(connection)
    info, _ = model_bytes.load(connection, serving.version_id, rig.settings.secret_key)
    assert info.parent_id is not None
    _, parent = model_bytes.load(connection, info.parent_id, rig.settings.secret_key)
    (folder / "parent").write_bytes(unseal(inner_model(parent, policy)).payload)
    configs = Configs(connection, info.experiment_id)
    (learned,) = store.rounds_of(connection, serving.version_id, None)
    with (folder / "examples").open("w", encoding="utf-8") as file:
        file.writelines(example_text(example_of(due, reward, configs)) for reward, due in learned)
