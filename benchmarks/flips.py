"""The best actions change places: how soon that is noticed, and how soon the default learner earns 90% again. Needs no server.

Three words of the context decide which of three actions pays in 70 of 100 cases; the others pay in 4. After 3,000 decisions the
actions change places. The guardian's watch of the value sees each round of 100; when it raises, the model is fitted from nothing,
as on the platform, and once more while the arm has not come back, as after every further fall.
"""

import sys
from typing import NamedTuple

import numpy as np

from bandits.policy import BanditPolicy, parse_policy
from benchmarks.play import ROUND, Call, Platform

WORDS, ACTIONS = ("free", "plus", "pro"), ["a", "b", "c"]
PAYS, ELSE = 0.7, 0.04
BEFORE, AFTER = 3_000, 2_000


class Run(NamedTuple):
    """One run; decisions count from the change."""

    noticed: float  # after so many decisions; infinite: never
    recovered: float  # the first 100 decisions that earn 90% of what 500 before the change did begin after so many
    later: float  # reward per decision from the 750th on, as a share of what was earned before
    early: bool  # raised before the change


def run(seed: int) -> Run:
    """Play one run."""
    rng = np.random.default_rng([17, seed])
    policy = parse_policy({"type": "bandit"})
    assert isinstance(policy, BanditPolicy)
    platform, earned = Platform(policy, guarded=True), list[float]()
    for first in range(0, BEFORE + AFTER, ROUND):
        examples = []
        for number in range(first, first + ROUND):
            word = int(rng.integers(3))
            best = (word + (number >= BEFORE)) % 3
            chosen, example = platform.decide(Call({"plan": WORDS[word]}, ACTIONS), float(rng.random()))
            earned.append(float(rng.random() < (PAYS if chosen == best else ELSE)))
            examples.append(example._replace(cost=1.0 - earned[-1]))
        platform.learn(examples)
    noticed = [at - BEFORE for at in platform.noticed]
    after = min((at for at in noticed if at > 0), default=np.inf)
    return _measured(np.array(earned), after, early=any(at <= 0 for at in noticed))


def _measured(earned: "np.ndarray[tuple[int], np.dtype[np.float64]]", noticed: float, *, early: bool) -> Run:
    former = float(earned[BEFORE - 500 : BEFORE].mean())
    means = earned[BEFORE:].reshape(-1, ROUND).mean(axis=1)
    back = np.flatnonzero(means >= 0.9 * former)
    recovered = float(back[0] * ROUND) if len(back) else np.inf
    return Run(noticed, recovered, float(earned[BEFORE + 750 :].mean()) / former, early)


def measure(runs: int = 100) -> None:
    """Print the table."""
    found = [run(seed) for seed in range(runs)]
    print(f"{runs} runs, {BEFORE} decisions, then the actions change places")
    for name in ("noticed", "recovered", "later"):
        values = np.array([getattr(row, name) for row in found])
        middle, low, high = np.percentile(values, [50, 5, 95])
        print(
            f"{name:10} median {middle:.2f}, 5% {low:.2f}, 95% {high:.2f}, worst {values.max():.2f}, {values.min():.2f}"
        )
    print(f"noticed within 150: {sum(row.noticed <= 150 for row in found)}")
    print(f"90% again within 750: {sum(row.recovered <= 750 for row in found)}")
    print(f"raised before the change: {sum(row.early for row in found)}", flush=True)


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
