"""Two arms compared through changes of their shares: within strata of constant shares, then combined.

A stratum holds the units that were first seen while an arm's chance to get a unit, given that one of the two arms gets
it, was constant. Within a stratum assignment is a coin with a known chance, so that its two arms are comparable
whatever happened to the base rate between strata; pooled over a change of shares they are not. The estimand is the
effect in the population of all units of the strata: both arms are weighted to the strata's pooled shares of units
(post-stratification, Miratrix, Sekhon and Yu 2013). Units are independent. This module must never pool two strata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from experiments.comparison import (
    DEN,
    NUM,
    Alternative,
    ArmEstimate,
    Comparison,
    compare_estimates,
    relative_lift,
)
from experiments.results import Interval, missing
from experiments.sequences import mixture_tau, mixture_test
from experiments.sums import Moments
from experiments.validation import DataError, FloatArray

MIN_SEQUENCE_UNITS = 100.0
"""Effective units of each arm before the always-valid interval, which is asymptotic, opens."""
MIN_SEQUENCE_EVENTS = 10.0
"""Effective events that each arm may expect before it opens: see `Support`."""
MIN_EFFECTIVE_UNITS = 5.0
"""Effective units of each arm below which no interval of any kind is given."""
TUNED_AT = 5000.0
"""Units at which the always-valid interval is narrowest, when no size was planned."""


class ArmCell(NamedTuple):
    """The units of one arm in one stratum."""

    moments: Moments
    """Per unit: numerator and denominator (and more columns, which are ignored)."""
    mean_size: float
    """Mean of |numerator| per unit, metric's unit."""


class Stratum(NamedTuple):
    """The units of two arms that were assigned with the same chances."""

    control: ArmCell
    """Units of the control."""
    treatment: ArmCell
    """Units of the other arm."""

    @property
    def cells(self) -> tuple[ArmCell, ArmCell]:
        """Control, treatment."""
        return self.control, self.treatment

    @property
    def units(self) -> int:
        """Units of both arms."""
        return self.control.moments.n + self.treatment.moments.n


class Support(NamedTuple):
    """What an interval rests on: the smaller of both arms."""

    units: float
    """Kish's effective number of units, (sum of weights)^2 / sum of squared weights: far below the number of units where
    a few units make most of the decisions."""
    events: float
    """Effective number of nonzero values that an arm expects if both arms are alike: (sum |x|)^2 / sum x^2 of both arms,
    in proportion to the arm's units. 1% conversions of 2,000 units are 20."""


class AlwaysValid(NamedTuple):
    """What holds at every look together."""

    p_value: float | None
    """Of "no difference"; None with a reason in the intervals."""
    interval: Interval
    """Of the difference."""
    relative_interval: Interval
    """Of the relative lift."""


class StratifiedComparison(NamedTuple):
    """Treatment against control."""

    comparison: Comparison
    """Values, difference, test and interval for one look."""
    always_valid: AlwaysValid
    """The same for every look together."""
    support: Support
    """Effective sizes."""
    variances: tuple[float, float]
    """Of each arm's value for the sequence: with a unit's spread at least as large as in both arms together."""
    units: tuple[int, int]
    """Units of control and treatment that were compared."""
    left_out: int
    """Units in strata where an arm has fewer than two units: nothing to compare them with."""


def compare_strata(
    strata: Sequence[Stratum],
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    tuned_at: float = TUNED_AT,
    value_range: tuple[float, float] | None = None,
) -> StratifiedComparison:
    """Compare two arms over strata of constant shares, at one look and at every look.

    Each arm: value = sum_h W_h N_h / sum_h W_h D_h, variance sum_h W_h^2 var_h / n_h, W_h = the stratum's share of all
    units. `tuned_at` are the planned units of both arms; `value_range` is the range of a single value where it is
    bounded. Raises `DataError` when no stratum has two units in each arm, or when a denominator sums to 0.
    """
    usable = [stratum for stratum in strata if min(cell.moments.n for cell in stratum.cells) >= 2]
    if not usable:
        raise DataError("an arm has fewer than two units", fix="wait for more units with settled decisions")
    weights = np.array([stratum.units for stratum in usable], dtype=np.float64)
    weights /= weights.sum()
    arms = [_Arm([stratum.cells[side] for stratum in usable], weights) for side in (0, 1)]
    support = _support(usable, weights, value_range)
    method = "Welch t" if len(usable) == 1 else "post-stratified, Welch t"
    estimates = [arm.estimate() for arm in arms]
    comparison = compare_estimates(estimates[0], estimates[1], alpha=alpha, alternative=alternative, method=method)
    left_out = sum(stratum.units for stratum in strata) - sum(stratum.units for stratum in usable)
    units = (arms[0].units, arms[1].units)
    if comparison.std_error is not None and support.units < MIN_EFFECTIVE_UNITS:
        comparison = _without_interval(comparison, support)
    variances = _larger_variances(arms)
    sequence = always_valid(comparison, variances, support, sum(units), alpha=alpha, tuned_at=tuned_at)
    return StratifiedComparison(comparison, sequence, support, variances, units, left_out)


class _Arm:
    """One arm over the strata, with the linearised influence of a unit: (N - R D) / mean weighted D."""

    def __init__(self, cells: Sequence[ArmCell], weights: FloatArray) -> None:
        self.moments = [cell.moments for cell in cells]
        self.weights = weights
        self.sizes = np.array([m.n for m in self.moments], dtype=np.float64)
        numerator, denominator = (self._weighted(column) for column in (NUM, DEN))
        if denominator <= 0:
            raise DataError("the denominator sums to 0 in an arm", fix="no ratio exists; wait for more")
        self.value = numerator / denominator
        self.influence = np.zeros(len(self.moments[0].mean))
        self.influence[NUM], self.influence[DEN] = 1 / denominator, -self.value / denominator
        spread = [max(float(self.influence @ m.covariance() @ self.influence), 0.0) for m in self.moments]
        self.spread = np.array(spread)  # variance of a unit's influence, by stratum

    @property
    def units(self) -> int:
        return int(self.sizes.sum())

    def _weighted(self, column: int) -> float:
        return float(sum(w * m.mean[column] for w, m in zip(self.weights, self.moments, strict=True)))

    def variance(self, spread: FloatArray) -> float:
        return float(np.sum(self.weights**2 * spread / self.sizes))

    def estimate(self) -> ArmEstimate:
        # A unit with most of the decisions is most of the variance: degrees of freedom count effective units.
        effective = min(self.effective_units(), float(self.units))
        return ArmEstimate(self.value, self.variance(self.spread), self.units, max(effective - 1.0, 1.0))

    def effective_units(self) -> float:
        """Kish's size of the weights with which units enter: W_h / n_h times their denominator."""
        square = [float(m.second[DEN, DEN]) / m.n + float(m.mean[DEN]) ** 2 for m in self.moments]
        return self._weighted(DEN) ** 2 / float(np.sum(self.weights**2 * np.array(square) / self.sizes))


def _support(strata: Sequence[Stratum], weights: FloatArray, value_range: tuple[float, float] | None) -> Support:
    sides = [_Arm([stratum.cells[side] for stratum in strata], weights) for side in (0, 1)]
    units = min(side.effective_units() for side in sides)
    sizes: list[Callable[[ArmCell], tuple[float, float]]] = [_size]
    if value_range is not None:
        # Rare failures are as hard as rare successes: the shortfall from the best value counts too.
        low, high = value_range
        sizes = [lambda cell: _distance(cell, low), lambda cell: _distance(cell, high)]
    return Support(units, min(_events(strata, weights, size) for size in sizes))


def _size(cell: ArmCell) -> tuple[float, float]:
    """Mean and mean square of |numerator|."""
    m = cell.moments
    return cell.mean_size, float(m.second[NUM, NUM]) / m.n + float(m.mean[NUM]) ** 2


def _distance(cell: ArmCell, end: float) -> tuple[float, float]:
    """Mean and mean square of |numerator - end x denominator|: from one end of the range all have the same sign."""
    m = cell.moments
    a = np.zeros(len(m.mean))
    a[NUM], a[DEN] = 1.0, -end
    mean = float(a @ m.mean)
    return abs(mean), float(a @ m.second @ a) / m.n + mean**2


def _events(strata: Sequence[Stratum], weights: FloatArray, size: Callable[[ArmCell], tuple[float, float]]) -> float:
    """Effective events that the smaller arm expects if both arms are alike."""
    pooled = np.array([_pooled(stratum, size) for stratum in strata])
    smallest = np.inf
    for side in (0, 1):
        n = np.array([stratum.cells[side].moments.n for stratum in strata])
        total, squares = float(weights @ pooled[:, 0]), float(np.sum(weights**2 * pooled[:, 1] / n))
        smallest = min(smallest, total**2 / squares if squares > 0 else 0.0)
    return float(smallest)


def _pooled(stratum: Stratum, size: Callable[[ArmCell], tuple[float, float]]) -> tuple[float, float]:
    parts = [(cell.moments.n / stratum.units, size(cell)) for cell in stratum.cells]
    return sum(w * mean for w, (mean, _) in parts), sum(w * square for w, (_, square) in parts)


def _without_interval(comparison: Comparison, support: Support) -> Comparison:
    reason = (
        f"the units of an arm weigh as much as {support.units:.1f} equal ones: a few units make most of the decisions, and "
        f"no interval holds below {MIN_EFFECTIVE_UNITS:.0f}"
    )
    gone = missing(reason)
    return comparison._replace(std_error=None, statistic=None, p_value=None, interval=gone, relative_interval=gone)


def _larger_variances(arms: Sequence[_Arm]) -> tuple[float, float]:
    """Each arm's variance with a unit's spread in each stratum at least as large as in both arms together.

    An arm that has seen no event yet has a variance of 0 or far too small, at which every difference looks sure; if both
    arms are alike, their pooled spread is the right one. Large arms change it little.
    """
    freedom = [arm.sizes - 1 for arm in arms]
    pooled = sum(f * arm.spread for f, arm in zip(freedom, arms, strict=True)) / sum(freedom)
    control, treatment = (arm.variance(np.maximum(arm.spread, pooled)) for arm in arms)
    return control, treatment


def always_valid(
    comparison: Comparison,
    variances: tuple[float, float],
    support: Support,
    units: int,
    *,
    alpha: float = 0.05,
    tuned_at: float = TUNED_AT,
) -> AlwaysValid:
    """The asymptotic sequence of a comparison, closed until its support is large enough, never narrower than one look.

    `variances` are those of control and treatment, `units` those of both arms (Waudby-Smith, Arbour, Sinha, Kennedy and
    Ramdas 2024). It holds asymptotically; `python -m benchmarks looks` measures misses in worlds of rare and skewed values.
    """
    if comparison.std_error is None:
        return AlwaysValid(None, comparison.interval, comparison.interval)
    reason = _closed(support)
    if reason:
        return AlwaysValid(None, missing(reason), missing(reason))
    error = sqrt(sum(variances))
    tested = mixture_test(comparison.difference, error, mixture_tau(error, units, tuned_at, alpha), alpha)
    # In standard errors, the sequence is equally wide for every contrast with the same units. So the relative lift's
    # always-valid interval is its one-look interval at the level that gives this width.
    errors = (tested.interval.high - comparison.difference) / error  # type: ignore[operator]
    ends = [
        arm._replace(variance=variance)
        for arm, variance in zip((comparison.control, comparison.treatment), variances, strict=True)
    ]
    _, relative = relative_lift(ends[0], ends[1], alpha=2 * float(norm.sf(errors)))
    return AlwaysValid(
        tested.p_value,
        _at_least(tested.interval, comparison.interval),
        _at_least(relative, comparison.relative_interval),
    )


def _closed(support: Support) -> str:
    if support.units < MIN_SEQUENCE_UNITS:
        return f"opens at {MIN_SEQUENCE_UNITS:.0f} effective units per arm, now {support.units:.1f}"
    if support.events < MIN_SEQUENCE_EVENTS:
        return f"opens at {MIN_SEQUENCE_EVENTS:.0f} effective events per arm, now {support.events:.1f}"
    return ""


def _at_least(sequence: Interval, one_look: Interval) -> Interval:
    """The sequence, never narrower than the interval for one look: what holds at every look holds at this one."""
    if sequence.low is None or sequence.high is None or one_look.low is None or one_look.high is None:
        return sequence
    return sequence._replace(low=min(sequence.low, one_look.low), high=max(sequence.high, one_look.high))
