"""Effects of many segments, each pulled towards their common mean as far as its own noise deserves (empirical Bayes).

The estimand of a shrunk value is the segment's own effect, if segments differ around a common mean by chance draws of a
normal distribution. Of many noisy segments the extreme ones are mostly luck; shrunk values are right on the average, also
for the largest. Segments hold different units and are independent. This module must never be used to choose what to ship.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from scipy import stats

from experiments.results import Interval
from experiments.validation import ArrayLike, DataError, fraction, refuse_first, same_length, vector


class Shrunk(NamedTuple):
    """One segment's effect after shrinking."""

    value: float
    """Metric's unit."""
    interval: Interval
    """For one look; of the segment's own effect under the normal model."""
    kept: float
    """Share of its distance from the common mean that it keeps: 0 is all noise, 1 none."""


def shrink(effects: ArrayLike, std_errors: ArrayLike, *, alpha: float = 0.05) -> list[Shrunk]:
    """Shrunk effects of k segments, shapes (k,), k >= 3.

    The spread between segments is DerSimonian and Laird's (1986); the interval adds the errors of the common mean and of
    the spread (Morris 1983); with 20 segments 95% intervals covered 91 to 97% in simulation. Raises `DataError` for
    fewer than three segments.
    """
    y, se = vector("effects", effects), vector("errors", std_errors)
    same_length(effects=y, errors=se)
    refuse_first(se <= 0, se, "a standard error is {value}", "a segment whose metric does not vary has no effect here")
    if len(y) < 3:
        raise DataError("there are fewer than three segments", fix="the spread between two cannot be told")
    weight = 1 / se**2
    common = float(weight @ y / weight.sum())
    excess = float(weight @ (y - common) ** 2) - (len(y) - 1)
    spread = max(0.0, excess / float(weight.sum() - weight @ weight / weight.sum()))
    weight = 1 / (se**2 + spread)
    mean, of_mean = float(weight @ y / weight.sum()), float(1 / weight.sum())
    z = float(stats.norm.isf(fraction("alpha", alpha) / 2))
    shrunk = []
    for effect, error in zip(y, se, strict=True):
        kept = float(spread / (spread + error**2))
        value = mean + kept * (float(effect) - mean)
        of_spread = 2 / max(len(y) - 3, 1) * (float(effect) - mean) ** 2
        half = z * sqrt(kept * float(error) ** 2 + (1 - kept) ** 2 * (of_mean + of_spread))
        shrunk.append(Shrunk(value, Interval(value - half, value + half), kept))
    return shrunk
