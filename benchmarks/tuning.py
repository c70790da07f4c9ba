"""A search over 50 policies on a log of 100,000 decisions: how long it takes, and whether it finds what is better.

``python -m benchmarks.tuning [--rows 100000] [--points 50]``: eight numbers and two words of context decide which of six actions
pays; the log is uniform. Needs no server. The search is that of ``POST .../policy/search``; then the finalists are valued as the
service values them, trained forward in ten stages.
"""

import argparse
import time
from datetime import UTC, datetime, timedelta

import numpy as np
from pydantic import JsonValue

from app.design.experiment_config import ExperimentConfig
from app.off_policy.evaluation_request import Tune
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Forward, Target
from app.off_policy.predictions import predict
from app.off_policy.store.evaluations import LoggedRow
from app.off_policy.tuning.halving import search
from app.off_policy.valued import Sample, value
from bandits.encoding import encode_action, encode_context
from bandits.policy import BanditPolicy, parse_policy

ACTIONS = [f"a{number}" for number in range(6)]
CONFIG = ExperimentConfig.model_validate(
    {
        "key": "world",
        "actions": [{"id": name} for name in ACTIONS],
        "arms": [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}],
    }
)


def world(rows: int, seed: int = 1) -> LogTable:
    """A uniform log."""
    rng = np.random.default_rng(seed)
    numbers, words = rng.normal(size=(rows, 8)) * [1, 1, 1, 1, 100, 100, 1e4, 1e4], rng.integers(0, 4, (rows, 2))
    weights = rng.normal(size=(len(ACTIONS), 8)) / [1, 1, 1, 1, 100, 100, 1e4, 1e4]
    scores = numbers @ weights.T + rng.normal(size=(4, len(ACTIONS)))[words[:, 0]]
    chances = 1 / (1 + np.exp(-scores / 2))
    chosen = rng.integers(len(ACTIONS), size=rows)
    reward = (rng.random(rows) < chances[np.arange(rows), chosen]) * 1.0
    contexts = [
        {f"x{n}": value for n, value in enumerate(own)} | {f"w{n}": f"v{word}" for n, word in enumerate(said)}
        for own, said in zip(numbers.tolist(), words.tolist(), strict=True)
    ]
    logged = [_row(row, contexts[row], int(chosen[row]), float(reward[row])) for row in range(rows)]
    shared, lines = [encode_context(context) for context in contexts], [encode_action(name) for name in ACTIONS]
    table = np.full((rows, 6), 1 / 6)
    places, ones = np.arange(rows), np.ones(rows, dtype=np.int64)
    rewards: np.ndarray[tuple[int], np.dtype[np.float64]] = np.asarray(reward, dtype=np.float64)
    return LogTable(
        logged,
        shared,
        [lines] * rows,
        [[]] * rows,
        chosen,
        {"all": table},
        np.ones((rows, 1)),
        table,
        rewards,
        places,
        places,
        ones,
    )


def _row(number: int, context: dict[str, JsonValue], chosen: int, reward: float) -> LoggedRow:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    even = [1 / 6] * 6
    return LoggedRow(f"d{number}", "all", f"u{number}", 1, 0, None, ACTIONS, even, chosen, 1 / 6, context, reward, at)


def measure(rows: int = 100_000, points: int = 50) -> None:
    """Print the table."""
    log = world(rows)
    early, late = log.split(0.75)
    began = time.perf_counter()
    board, found = search(early, CONFIG, Tune(points=points, budget_s=3600), 1, lambda _: None)
    chose = time.perf_counter() - began
    print(f"{points} policies on {rows:,} decisions: chosen in {chose:.0f} s")
    for tried in board[:5]:
        print(f"  {tried.candidate or '':10} {tried.policy['algorithm']:15} {tried.value:.4f} after {tried.learned:,}")
    sample = Sample(late, predict(early, late, (0.0, 1.0)), (0.0, 1.0), 0.05)
    documents = [({"type": "bandit"}, "auto as it comes")] + [(spec.policy or {}, spec.key) for spec in found]
    for document, name in documents:
        policy = parse_policy(document)
        assert isinstance(policy, BanditPolicy)
        target = Target(name, "", "trained_forward", policy, forward=Forward(policy, CONFIG, early))
        line = value(sample, target, lambda _: None).line
        print(f"  {name:18} worth {line.value:.4f} on the newest {len(late):,} (uniform: {late.reward.mean():.4f})")
    print(f"  in all {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=50)
    arguments = parser.parse_args()
    measure(arguments.rows, arguments.points)
