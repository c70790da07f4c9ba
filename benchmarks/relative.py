"""python -m benchmarks.relative: how often intervals of a lift miss it at any of 50 looks, over simulated experiments.

Two arms of independent units with rewards of 0 or 1, 100 more units an arm at each look. For some pairs of rates, the
table has the share of experiments in which an interval missed the truth at least once: the sequence of the difference, the
sequence of the relative lift, and the one-look interval of the relative lift. The level of each is 5%.
"""

import argparse
import math
from typing import Final

import numpy as np
from scipy.stats import norm

from experiments.arms.comparison import ArmEstimate, relative_lift
from experiments.results import Interval
from experiments.sequences import mixture_tau, mixture_test

LOOKS: Final = 50
STEP: Final = 100
RATES: Final = ((0.3, 0.3), (0.3, 0.36), (0.05, 0.06), (0.02, 0.02))


def missed(control: float, treated: float, runs: int) -> list[float]:
    """Shares of the runs in which each of the three intervals missed at some look."""
    random = np.random.default_rng(1)
    misses_by_interval = np.zeros(3)
    for _ in range(runs):
        draws = random.random((2, LOOKS * STEP)) < np.array([[control], [treated]])
        wins = draws.cumsum(axis=1)[:, STEP - 1 :: STEP]
        misses = [_look(wins[:, look], (look + 1) * STEP, control, treated) for look in range(LOOKS)]
        misses_by_interval += np.any(misses, axis=0)
    return [float(share) for share in misses_by_interval / runs]


def _look(wins: np.ndarray, n: int, control: float, treated: float) -> tuple[bool, bool, bool]:
    arms = [ArmEstimate(rate, rate * (1 - rate) / (n - 1), n) for rate in (float(count) / n for count in wins)]
    difference, error = arms[1].value - arms[0].value, math.sqrt(arms[0].variance + arms[1].variance)
    if error == 0:
        return (False, False, False)
    sequence = mixture_test(difference, error, mixture_tau(error, 2 * n)).interval
    errors = ((sequence.high or 0.0) - difference) / error
    _, relative = relative_lift(*arms, alpha=2 * float(norm.sf(errors)))
    _, one_look = relative_lift(*arms)
    lift = treated / control - 1
    return (_misses(sequence, treated - control), _misses(relative, lift), _misses(one_look, lift))


def _misses(interval: Interval, truth: float) -> bool:
    return interval.low is not None and interval.high is not None and not interval.low <= truth <= interval.high


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    arguments = parser.parse_args()
    print("control treated | difference, peek-safe | lift, peek-safe | lift, one look")
    for pair in RATES:
        print(*pair, "|", *(f"{share:.1%}" for share in missed(*pair, arguments.runs)))
