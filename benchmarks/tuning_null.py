"""python -m benchmarks.tuning_null: how often does a search over 20 policies promote one where every policy is worth the same?

The whole search as the service makes it: policies learn from the first half of the log, the best are chosen by the next quarter,
and what they earn on the newest quarter, trained forward, is compared with what ran (`app.off_policy`). The world: 150 units of
uneven activity make 1,200 decisions among 3 actions, drawn uniformly; each unit has its own rate, whatever is chosen.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
from pydantic import JsonValue

from app.design.experiment_config import ExperimentConfig
from app.off_policy.evaluation_request import Tune
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Forward, Target
from app.off_policy.predictions import predict
from app.off_policy.search import Baseline
from app.off_policy.search import search as judge
from app.off_policy.store.evaluations import LoggedRow
from app.off_policy.tuning.halving import search
from app.off_policy.valued import Sample, value
from bandits.encoding import encode_action, encode_context
from bandits.policy import BanditPolicy, parse_policy

UNITS, ROWS, POINTS, ALPHA = 150, 1200, 20, 0.05
ACTIONS = ["a", "b", "c"]
EVEN, START = 1 / len(ACTIONS), datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = ExperimentConfig.model_validate(
    {
        "key": "null",
        "actions": [{"id": name} for name in ACTIONS],
        "arms": [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}],
    }
)


def world(seed: int) -> LogTable:
    """A uniform log in which no action is worth more than another."""
    random = np.random.default_rng(seed)
    activity = random.gamma(1.0, 1.0, UNITS)
    unit = np.unique(random.choice(UNITS, ROWS, p=activity / activity.sum()), return_inverse=True)[1].astype(np.int64)
    rate, group = random.beta(1.0, 2.0, UNITS), random.integers(0, 4, UNITS)
    chosen = random.integers(len(ACTIONS), size=ROWS)
    reward = (random.random(ROWS) < rate[unit]).astype(np.float64)
    contexts: list[dict[str, JsonValue]] = [{"group": f"g{group[one]}", "hour": n % 24} for n, one in enumerate(unit)]
    rows = [
        LoggedRow(
            f"d{n}", "all", f"u{unit[n]}", 1, 0, None, ACTIONS, [EVEN] * 3, int(chosen[n]), EVEN, contexts[n],
            float(reward[n]), START + timedelta(seconds=n),
        )
        for n in range(ROWS)
    ]  # fmt: skip
    lines, table = [encode_action(name) for name in ACTIONS], np.full((ROWS, len(ACTIONS)), EVEN)
    places, ones = np.arange(ROWS), np.ones(ROWS, dtype=np.int64)
    shared = [encode_context(context) for context in contexts]
    return LogTable(
        rows, shared, [lines] * ROWS, [[]] * ROWS, chosen, {"all": table}, np.ones((ROWS, 1)), table, reward, unit,
        places, ones,
    )  # fmt: skip


def promotes(seed: int, points: int = POINTS) -> bool:
    """True if the search of one run promotes a policy."""
    early, late = world(seed).split(0.75)
    _, found = search(early, CONFIG, Tune(points=points, seed=seed, budget_s=3600), 1, lambda _: None)
    sample = Sample(late, predict(early, late, (0.0, 1.0)), (0.0, 1.0), ALPHA)
    valued = []
    for spec in found:
        policy = parse_policy(spec.policy or {})
        assert isinstance(policy, BanditPolicy), "a search tries policies that learn"
        target = Target(spec.key, "", "trained_forward", policy, candidate=True, forward=Forward(policy, CONFIG, early))
        valued.append(value(sample, target, lambda _: None))
    return judge(valued, Baseline(late.reward, None, late.unit, ALPHA)).winner is not None


def share(runs: int, jobs: int = 1, points: int = POINTS) -> tuple[float, float]:
    """Share of searches that promote a policy, and its standard error."""
    if jobs == 1:
        hits = np.array([promotes(seed, points) for seed in range(runs)], dtype=float)
    else:
        with ProcessPoolExecutor(jobs) as pool:
            hits = np.array(list(pool.map(promotes, range(runs))), dtype=float)
    return float(hits.mean()), float(np.sqrt(hits.mean() * (1 - hits.mean()) / runs))


def main() -> None:
    """Print the share."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning_null", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    began = time.perf_counter()
    promoting, error = share(arguments.runs, arguments.jobs)
    print(f"{arguments.runs} searches over {POINTS} policies, {ROWS} decisions by {UNITS} units")
    print(f"  searches that promote one: {100 * promoting:.1f}% (standard error {100 * error:.1f}), allowed 5%")
    print(f"  {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
