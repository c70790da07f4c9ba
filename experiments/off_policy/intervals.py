"""Intervals for a single, pre-declared sample size, from influence values or from sums alone.

For numbers that refresh, use `experiments.sequences`. Every function returns an `Interval` whose ends are numbers, or
None with a reason: this module must never return NaN.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite, isinf, log, sqrt
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from experiments.results import Interval, missing
from experiments.sums import WR, Moments, W
from experiments.validation import DataError, FloatArray, IntArray, fraction, value_range

MIN_UNITS = 2


class WeightSums(NamedTuple):
    """Row-level sums that the Cressie-Read interval is a closed form of. Mergeable by adding field by field."""

    n: int
    """Rows."""
    w: float
    """Sum of importance weights."""
    ww: float
    """Sum of squared weights."""
    wr: float
    """Sum of w r."""
    wwr: float
    """Sum of w^2 r."""
    wwrr: float
    """Sum of w^2 r^2."""


def weight_sums(w: FloatArray, r: FloatArray) -> WeightSums:
    """`WeightSums` of arrays of one length."""
    wr = w * r
    return WeightSums(len(w), float(w.sum()), float(w @ w), float(wr.sum()), float(w @ wr), float(wr @ wr))


def weight_sums_of(m: Moments) -> WeightSums:
    """`WeightSums` from row-level moments of `experiments.sums`."""
    raw = m.second + m.n * np.multiply.outer(m.mean, m.mean)
    totals = m.n * m.mean
    return WeightSums(m.n, totals[W], raw[W, W], totals[WR], raw[W, WR], raw[WR, WR])


def effective_rewards(sums: WeightSums, reward_range: tuple[float, float]) -> float:
    """Kish size of w (r - low) or of w (high - r), whichever is smaller: the number of rewards behind a normal limit.

    With rare rewards the effective size of the weights alone is too optimistic: 1,000 rows with 10 clicks hold 10
    events.
    """
    sizes = []
    for origin in reward_range:
        total = sums.wr - origin * sums.w
        squares = sums.wwrr - 2 * origin * sums.wwr + origin * origin * sums.ww
        # Squares at rounding level mean that no row is informative on this side.
        sizes.append(total * total / squares if squares > 1e-14 * sums.ww else 0.0)
    return min(sizes)


def standard_error(influence: FloatArray, unit: IntArray | None = None) -> float:
    """SE of a mean from its influence values; clustered when `unit` (codes 0..units-1, one per row) is given.

    Rows: sd(influence, ddof 1) / sqrt(n). Units: sqrt(units) sd(sums within units) / n. Raises `DataError` for fewer
    than two rows or units.
    """
    n = len(influence)
    sums = influence if unit is None else np.bincount(unit, weights=influence)
    if len(sums) < MIN_UNITS:
        raise DataError("there is only one independent unit", fix="a standard error needs at least two")
    return sqrt(len(sums)) * float(np.std(sums, ddof=1)) / n


@lru_cache(maxsize=64)
def normal_quantile(alpha: float) -> float:
    """z with P(|Z| > z) = alpha."""
    return float(-special.ndtri(fraction("alpha", alpha) / 2))


def normal(value: float, std_error: float, alpha: float = 0.05, *, bias: float = 0.0, note: str = "") -> Interval:
    """value +- (z std_error + bias). Valid at one pre-declared n with enough effective rows, never while peeking."""
    if not (isfinite(value) and isfinite(std_error)):
        return missing("the value or its standard error is not a finite number")
    half = normal_quantile(alpha) * std_error + bias
    return Interval(value - half, value + half, note=note)


def empirical_bernstein(mean: float, sd: float, n: int, width: float, alpha: float = 0.05) -> Interval:
    """Maurer and Pontil (2009), two-sided: mean +- sd sqrt(2 ln(4/alpha) / n) + 7 width ln(4/alpha) / (3 (n - 1)).

    `width` is the KNOWN length of the range of one row (for IPS: largest possible weight times the range of rewards
    including 0). The largest row seen is not a bound. Finite-sample valid for independent rows.
    """
    if n < MIN_UNITS:
        return missing("one row has no variance")
    if not isfinite(width):
        return missing("needs the largest possible weight, which was not declared")
    tail = log(4 / fraction("alpha", alpha))
    half = sd * sqrt(2 * tail / n) + 7 * width * tail / (3 * (n - 1))
    return Interval(mean - half, mean + half)


def cressie_read(
    sums: WeightSums,
    reward_range: tuple[float, float],
    max_weight: float = float("inf"),
    alpha: float = 0.05,
    *,
    min_weight: float = 0.0,
) -> Interval:
    """Cressie-Read(-2) interval for V (Karampatziakis, Langford and Mineiro 2020): the default fixed-n interval.

    Over all distributions of (w, r) that have E[w] = 1 and lie within a chi-square divergence of the log with one
    unseen row added, the smallest and the largest E[w r]. `max_weight` is the KNOWN largest possible weight; infinite
    is valid but explodes upwards for rare rewards. Closed form, O(1) in the rows. Assumes independent rows.
    """
    low, high = value_range(*reward_range)
    check_weight_bounds(sums, min_weight, max_weight)
    if sums.n < MIN_UNITS:
        return missing("one row cannot bound a value")
    radius = (_least_divergence(sums, min_weight, max_weight) + _f_quantile(alpha, sums.n)) / (sums.n + 1)
    below = _shortfall(sums, low, 1.0, (min_weight, max_weight), radius)
    above = _shortfall(sums, high, -1.0, (min_weight, max_weight), radius)
    ends = [min(high, max(low, end)) for end in (low + below, high - above)]
    return Interval(ends[0], ends[1])


def check_weight_bounds(sums: WeightSums, min_weight: float, max_weight: float) -> None:
    """Bounds on weights must surround 1, the mean that true weights have."""
    if not (0 <= min_weight < 1 < max_weight):
        raise DataError(
            f"the weight bounds are {min_weight:g} to {max_weight:g}",
            fix="true weights average 1, so the lower bound is below 1 and the upper one above",
        )
    if sums.n and sums.w > sums.n * max_weight * (1 + 1e-9):
        raise DataError("weights exceed the declared largest weight", fix="declare the largest POSSIBLE weight")


@lru_cache(maxsize=4096)
def _f_quantile(alpha: float, n: int) -> float:
    return float(stats.f.isf(fraction("alpha", alpha), 1, n))


def _least_divergence(sums: WeightSums, min_weight: float, max_weight: float) -> float:
    """How far the log itself is from E[w] = 1, helped by one unseen row at the end that pulls the mean towards 1."""
    n = sums.n
    unseen = max_weight if sums.w < n else min_weight
    if isinf(unseen):
        return 1 + 1 / n
    mean = (unseen + sums.w) / (n + 1)
    variance = (unseen * unseen + sums.ww) / (n + 1) - mean * mean
    return (n + 1) * (mean - 1) ** 2 / variance if variance > 0 else 0.0


def _shortfall(sums: WeightSums, origin: float, sign: float, ends: tuple[float, float], radius: float) -> float:
    """Smallest E[f], f = sign * w (r - origin) >= 0, over both ends of the weight bounds for the unseen row; never below 0.

    With the reward measured from `origin` the unseen row contributes f = 0 whatever its weight, which is what keeps the
    limit of an infinite largest weight finite.
    """
    measured = _Measured(
        sign * (sums.wr - origin * sums.w),
        sign * (sums.wwr - origin * sums.ww),
        sums.wwrr - 2 * origin * sums.wwr + origin * origin * sums.ww,
    )
    least = [_least_mean(sums, measured, unseen, radius) for unseen in ends]
    return min((x for x in least if x is not None), default=0.0)


class _Measured(NamedTuple):
    """Sums over rows of f, the weighted reward measured from one end of its range."""

    f: float
    wf: float
    ff: float


def _least_mean(sums: WeightSums, measured: _Measured, unseen: float, radius: float) -> float | None:
    """min mean(f u) over row factors u with mean 1, mean(w u) = 1 and mean((u - 1)^2) <= radius.

    u - 1 splits into a part along w, which the constraint fixes, and a part along the residual of f after regressing on
    w, which takes what is left of the radius. None when the constraint alone needs more than the radius.
    """
    f, wf, ff = measured
    total = sums.n + 1
    if isinf(unseen):
        along, drift = 1 / sums.n, f / sums.n
        residual = ff / total - f * f / (total * sums.n)
    else:
        mean, mean_f = (unseen + sums.w) / total, f / total
        variance = (unseen * unseen + sums.ww) / total - mean * mean
        if variance <= 0:
            return None
        covariance = wf / total - mean * mean_f
        along = (1 - mean) ** 2 / variance
        drift = mean_f + (1 - mean) * covariance / variance
        residual = ff / total - mean_f * mean_f - covariance * covariance / variance
    if radius < along:
        return None
    return drift - sqrt(max(residual, 0.0) * (radius - along))
