"""python -m benchmarks.search_null: how often does a search promote one of 20 candidates without any advantage?

The world: 300 units of uneven activity make 3,000 decisions among 5 actions; each unit has its own context and its own
reward rate, whatever is chosen, so that every policy is worth the same. A unit belongs to one of two arms, a fixed action
or a policy that differs by context and time, with a floor: so its rows depend on each other. Candidates are random
policies by context, valued by doubly robust rows (reward model: earlier rows' mean of the context), compared with the
logged value, with units as clusters. `--independent` leaves the clusters out, to show why they are needed.
"""

import argparse
import time

import numpy as np

from experiments.off_policy import estimators, verdict
from experiments.policy_reports import candidates

UNITS, ROWS, ACTIONS, CONTEXTS, BATCHES = 300, 3000, 5, 4, 10
FLOOR, SHARES = 0.2, (0.4, 0.6)
SOUND = verdict.Verdict(verdict.Status.IDENTIFIED, ())


def promotes(seed: int, count: int = 20, *, clustered: bool = True) -> bool:
    """True if the search of one run promotes a candidate."""
    random = np.random.default_rng(seed)
    activity = random.gamma(1.0, 1.0, UNITS)
    unit = random.choice(UNITS, ROWS, p=activity / activity.sum())
    context, rate = random.integers(0, CONTEXTS, UNITS), random.beta(1.0, 2.0, UNITS)
    x = context[unit]
    learned = (1 - FLOOR) * random.dirichlet([0.5] * ACTIONS, (BATCHES, CONTEXTS)) + FLOOR / ACTIONS
    arms = np.stack(
        [np.broadcast_to(np.eye(ACTIONS)[0], (ROWS, ACTIONS)), learned[np.arange(ROWS) * BATCHES // ROWS, x]]
    )
    mixture = (
        SHARES[0] * arms[0] + SHARES[1] * arms[1]
    )  # the platform's distribution, because a unit's arm is drawn too
    chances = arms[random.choice(2, UNITS, p=SHARES)[unit], np.arange(ROWS)]
    action = (chances.cumsum(axis=1) < random.random((ROWS, 1))).sum(axis=1).clip(max=ACTIONS - 1)
    propensity = mixture[np.arange(ROWS), action]
    reward = (random.random(ROWS) < rate[unit]).astype(float)
    q = _earlier_means(x, reward)  # of the context, whatever the action: so it is its own average under every policy
    values = []
    for policy in random.dirichlet([1.0] * ACTIONS, (count, CONTEXTS)):
        w = policy[x, action] / propensity
        values.append(estimators.dr(w, reward, q, q))
    gaps = candidates.differences(values, estimators.logged_value(reward), unit if clustered else None)
    judged = candidates.judge([f"candidate {n}" for n in range(count)], gaps, [SOUND] * count)
    return any(candidate.promoted for candidate in judged)


def share(runs: int, *, clustered: bool = True) -> tuple[float, float]:
    """Share of runs that promote one, and its standard error."""
    hits = np.array([promotes(seed, clustered=clustered) for seed in range(runs)], dtype=float)
    return float(hits.mean()), float(np.sqrt(hits.mean() * (1 - hits.mean()) / runs))


def _earlier_means(context: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """For each row, the mean reward of its context in earlier rows; 0 for the first."""
    q = np.zeros(len(reward))
    for value in range(CONTEXTS):
        rows = np.flatnonzero(context == value)
        before = np.cumsum(reward[rows]) - reward[rows]
        q[rows] = before / np.maximum(np.arange(len(rows)), 1)
    return q


def main() -> None:
    """Print the share."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_null", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--independent", action="store_true", help="take rows for independent")
    arguments = parser.parse_args()
    began = time.perf_counter()
    promoting, error = share(arguments.runs, clustered=not arguments.independent)
    print(f"20 null candidates, {arguments.runs} runs of {ROWS} rows by {UNITS} units")
    print(f"  runs that promote one: {100 * promoting:.1f}% (standard error {100 * error:.1f}), allowed 5%")
    print(f"  {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
