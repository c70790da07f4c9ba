"""Intervals for a ratio of sums over units whose rows depend on each other, for few units and rare rewards too.

The value is sum(amount) / sum(weight) over units: self-normalised weighting has amounts sum(w r) and weights sum(w), DR
has amounts sum(v + w (r - q)) and numbers of rows. The one-look interval holds every value v that the score

    (sum_u z_u)^2 / sum_u (z_u / (1 - share_u))^2,   z_u = amount_u - v weight_u,

does not reject: a Cressie-Read(-2) divergence of unit sums, with the jackknife's factors (Tukey 1958), so that a unit with
much of the weight cannot hide its own spread. Its quantile is Student's, with degrees of freedom from the kurtosis of
what units contribute (Satterthwaite 1946, by moments) or from their unequal weights, whichever are fewer. The interval
for every look puts the boundary of a normal mixture (Robbins 1970; Waudby-Smith et al. 2024) in the quantile's place.
This module must never count rows: more rows of the same units are no new evidence.
"""

from __future__ import annotations

from math import exp, inf, isinf, sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.off_policy.intervals import normal_quantile
from experiments.off_policy.verdict import MIN_EFFECTIVE_UNITS
from experiments.results import Interval, missing
from experiments.sequences import asymptotic_half_width, tuned_rho
from experiments.validation import FloatArray, IntArray, fraction

MIN_REWARDED = 15.0
"""Effective units with rewards (and with shortfalls) before the sequence opens: with less, it missed in up to 12% of runs."""
TUNED_AT = 500.0
"""The sequence is narrowest at this many units."""
NO_SPREAD, ROUNDING = 1e-24, 1e-9
TOO_FEW = "too few effective units: no value can be excluded"
NO_DIFFERENCE = "all units contribute the same, so that nothing tells how much units differ"
WHOLE = 1 - 1e-9
"""A unit's share of the weight above this counts as all of it."""


class UnitSums(NamedTuple):
    """Sums within units of the two parts of a ratio."""

    amount: FloatArray
    """Shape (units,)."""
    weight: FloatArray
    """Shape (units,), at least 0."""

    @property
    def value(self) -> float | None:
        """sum(amount) / sum(weight); None when no unit has weight."""
        total = float(self.weight.sum())
        return float(self.amount.sum()) / total if total > 0 else None


def unit_sums(amount: FloatArray, weight: FloatArray, unit: IntArray | None) -> UnitSums:
    """`UnitSums` of rows of shape (rows,). `unit` holds codes from 0; None makes each row a unit of its own."""
    if unit is None:
        return UnitSums(amount, weight)
    present = np.bincount(unit) > 0
    amounts, weights = (np.bincount(unit, weights=rows).astype(np.float64) for rows in (amount, weight))
    return UnitSums(amounts[present], weights[present])


def mean_sums(rows: FloatArray, unit: IntArray | None) -> UnitSums:
    """`UnitSums` of the mean per row of `rows`, shape (rows,)."""
    return unit_sums(rows, np.ones_like(rows), unit)


def kish(x: FloatArray) -> float:
    """(sum x)^2 / sum x^2 of shape (units,): how many equal units would count as much; 0 when all are 0."""
    largest = float(np.abs(x).max(initial=0.0))
    scaled = x / largest if largest > 0 else x
    squares = float(scaled @ scaled)
    return float(scaled.sum()) ** 2 / squares if squares > 0 else 0.0


class _Scores(NamedTuple):
    value: float
    shares: FloatArray
    """Each unit's share of the weight, shape (units,)."""
    pulls: FloatArray
    """What each unit contributes to the value, shape (units,), sum 0."""
    factors: FloatArray
    """The jackknife's, squared."""
    freedom: float


def _scores(sums: UnitSums) -> _Scores | None:
    value = sums.value
    if value is None or len(sums.weight) < 2:
        return None
    shares = sums.weight / float(sums.weight.sum())
    pulls = sums.amount / float(sums.weight.sum()) - value * shares
    factors = (1.0 - np.minimum(shares, WHOLE)) ** -2.0
    return _Scores(value, shares, pulls, factors, _freedom(shares, pulls))


def _freedom(shares: FloatArray, pulls: FloatArray) -> float:
    """Degrees of freedom of the variance of the value."""
    unequal = kish(shares**2)
    largest = float(np.abs(pulls).max())
    if largest <= 0:
        return unequal
    squares = (pulls / largest) ** 2
    kurtosis = float(np.mean(squares**2)) / float(np.mean(squares)) ** 2
    return min(2 * len(pulls) / max(kurtosis - 1, 1e-9), unequal)


def standard_error(sums: UnitSums) -> float | None:
    """Jackknife standard error of the value over units; None for fewer than two units or without weight."""
    scores = _scores(sums)
    if scores is None:
        return None
    n = len(scores.pulls)
    return sqrt(float(scores.factors @ scores.pulls**2) * (1 - 1 / n))


def degrees_of_freedom(sums: UnitSums) -> float | None:
    """Student's degrees of freedom of that standard error; None where there is none."""
    scores = _scores(sums)
    return None if scores is None else scores.freedom


def one_look(sums: UnitSums, bounds: tuple[float, float], alpha: float = 0.05) -> Interval:
    """The interval for one look at a number of units fixed beforehand. `bounds` are the possible values.

    Asymptotic in the number of units, which are independent of each other; rows within a unit may depend on each other.
    """
    scores = _scores(sums)
    if scores is None:
        return missing("there is only one independent unit, or no unit has weight")
    if float(scores.factors @ scores.pulls**2) <= NO_SPREAD:
        return _alike(scores.value, kish(sums.weight), bounds, fraction("alpha", alpha))
    return _accepted(scores, float(stats.t.isf(fraction("alpha", alpha) / 2, scores.freedom)), bounds)


def _alike(value: float, effective: float, bounds: tuple[float, float], alpha: float) -> Interval:
    """All units contribute the same. At an end of the range, that bounds the share of units that do not (Louis 1981).

    No unit in n has a reward with chance (1 - p)^n when a share p of them has one, and such a unit adds at most the
    range; n is the number of effective units.
    """
    low, high = bounds
    if isinf(low) or isinf(high):
        return missing(NO_DIFFERENCE)
    reach = (high - low) * (1 - (alpha / 2) ** (1 / effective))
    if abs(value - low) <= ROUNDING * (high - low):
        return Interval(low, low + reach, note=NO_DIFFERENCE)
    if abs(value - high) <= ROUNDING * (high - low):
        return Interval(high - reach, high, note=NO_DIFFERENCE)
    return Interval(low, high, note=NO_DIFFERENCE)


def independent_difference(first: UnitSums, second: UnitSums, alpha: float = 0.05) -> Interval:
    """One-look interval of the first value minus the second, when no unit is in both (Welch 1947)."""
    parts = [(x.value, standard_error(x), degrees_of_freedom(x)) for x in (first, second)]
    known = [
        (value, error, df) for value, error, df in parts if value is not None and error is not None and df is not None
    ]
    if len(known) < len(parts):
        return missing("one side has only one independent unit, or no weight")
    variances = [error**2 for _, error, _ in known]
    if sum(variances) <= NO_SPREAD:
        return missing(NO_DIFFERENCE)
    freedom = sum(variances) ** 2 / sum(v**2 / df for v, (_, _, df) in zip(variances, known, strict=True))
    half = float(stats.t.isf(fraction("alpha", alpha) / 2, freedom)) * sqrt(sum(variances))
    gap = known[0][0] - known[1][0]
    return missing(TOO_FEW) if isinf(half) else Interval(gap - half, gap + half)


def always_valid(sums: UnitSums, bounds: tuple[float, float], alpha: float = 0.05) -> Interval:
    """The interval for every look, asymptotic in the number of units: ask `shut` before."""
    scores = _scores(sums)
    if scores is None:
        return missing("there is only one independent unit, or no unit has weight")
    units, student = len(scores.pulls), float(stats.t.isf(fraction("alpha", alpha) / 2, scores.freedom))
    boundary = asymptotic_half_width(1.0, units, tuned_rho(TUNED_AT, alpha), alpha) / normal_quantile(alpha)
    return _accepted(scores, boundary * student, bounds)


def always_valid_p(sums: UnitSums, alpha: float = 0.05) -> float | None:
    """P-value for every look that the value is 0: at most `alpha` exactly when `always_valid` without bounds leaves 0 out.

    The mixture's evidence, inverted: sqrt(n rho^2 + 1) exp(-t^2 n rho^2 / (2 (n rho^2 + 1))), with the score in place of
    t. None for fewer than two units or without spread.
    """
    scores = _scores(sums)
    if scores is None:
        return None
    rejected = scores.pulls + scores.value * scores.shares
    spread = float(scores.factors @ rejected**2)
    if spread <= NO_SPREAD:
        return None
    student = float(stats.t.isf(fraction("alpha", alpha) / 2, scores.freedom)) / normal_quantile(alpha)
    squared = scores.value**2 / spread / student**2
    mixed = len(scores.pulls) * tuned_rho(TUNED_AT, alpha) ** 2
    return min(1.0, sqrt(mixed + 1) * exp(-squared * mixed / (2 * (mixed + 1))))


def shut(weighted: UnitSums, reward_range: tuple[float, float]) -> str:
    """Why the sequence of units may not be read yet; empty when it may. `weighted` has sums of w r and of w."""
    size = kish(weighted.weight)
    if size < MIN_EFFECTIVE_UNITS:
        return f"needs {MIN_EFFECTIVE_UNITS:.0f} effective units, has {size:.1f}"
    low, high = reward_range
    sides = weighted.amount - low * weighted.weight, high * weighted.weight - weighted.amount
    rewarded = min(kish(side) for side in sides)
    if rewarded < MIN_REWARDED:
        return (
            f"needs {MIN_REWARDED:.0f} effective units with rewards (and with less than the best), has {rewarded:.1f}"
        )
    return ""


def _accepted(scores: _Scores, quantile: float, bounds: tuple[float, float]) -> Interval:
    """The values that the score does not reject, the roots of a quadratic. It may be all values within the bounds."""
    low, high = bounds
    squared, spread = quantile**2, float(scores.factors @ scores.pulls**2)
    curvature = 1 - squared * float(scores.factors @ scores.shares**2)
    if isinf(squared) or curvature <= 0:
        return missing(TOO_FEW) if isinf(low) or isinf(high) else Interval(low, high, note=TOO_FEW)
    slope = squared * float(scores.factors @ (scores.pulls * scores.shares))
    reach = sqrt(slope**2 + curvature * squared * spread)
    ends = (scores.value + (-slope - reach) / curvature, scores.value + (-slope + reach) / curvature)
    return Interval(min(max(ends[0], low), high), max(min(ends[1], high), low))


UNBOUNDED = (-inf, inf)
"""Bounds of a value that may be any number."""
