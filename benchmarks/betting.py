"""The betting sequence of Waudby-Smith, Wu, Ramdas et al. (2022), for comparison; Loopwise does not offer it.

It assumes that all rows have one value. It misses when the value drifts, its running intersection is then empty, and it
is wider than `experiments.off_policy.value_sequence` where the value is constant: see `python -m benchmarks sequences`.
"""

from __future__ import annotations

from math import log

import numpy as np
import numpy.typing as npt

from experiments.results import Interval, missing

Floats = npt.NDArray[np.float64]
BET_CAP = 0.75
"""Bets stay below this share of the largest possible loss in a row."""


def interval(w: Floats, r: Floats, alpha: float = 0.05) -> Interval:
    """The running intersection at the last of n rows, rewards in [0, 1], alpha/2 on each side."""
    sides = [(x, bets(x, alpha)) for x in (w * r, w * (1 - r))]
    below, above = (_least(x, stakes, alpha) for x, stakes in sides)
    if below > 1 - above:
        return missing("the two sides contradict each other")
    return Interval(below, 1 - above)


def bets(x: Floats, alpha: float) -> Floats:
    """The predictable bets on rows w r, shape (rows,), before they are capped."""
    t = np.arange(1, len(x) + 1, dtype=np.float64)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - np.minimum(mean, 1.0)) ** 2)) / (t + 1)
    before = np.concatenate(([0.25], variance[:-1]))
    return np.asarray(np.sqrt(2 * log(2 / alpha) / (before * t * np.log1p(t))))


def ruined(x: Floats, stakes: Floats, mean: float, alpha: float) -> bool:
    """Whether the capital of bets against `mean` reached 2/alpha at some row."""
    capped = np.minimum(stakes, BET_CAP / max(mean, 1e-12))
    return bool(np.cumsum(np.log1p(capped * (x - mean))).max() >= log(2 / alpha))


def _least(x: Floats, stakes: Floats, alpha: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if ruined(x, stakes, middle, alpha) else (low, middle)
    return low
