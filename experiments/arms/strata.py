"""Two arms compared through changes of their shares: within strata of constant shares, then combined.

A stratum holds the units that were first seen while an arm's chance to get a unit, given that one of the two arms gets
it, was constant. Within a stratum assignment is a coin with a known chance, so that its two arms are comparable
whatever happened to the base rate between strata; pooled over a change of shares they are not. The estimand is the
effect in the population of all units of the strata: both arms are weighted to the strata's pooled shares of units
(post-stratification, Miratrix, Sekhon and Yu 2013). Units are independent. This module must never pool two strata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.arms.adjustment import Adjusted
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.arm_sequence import TUNED_AT, AlwaysValid, Design, Support, always_valid
from experiments.arms.comparison import DEN, NUM, ArmEstimate, Comparison, compare_estimates, relative_lift
from experiments.arms.proportion_test import Counts, p_value
from experiments.results import Interval, missing
from experiments.validation import DataError, FloatArray

MIN_EFFECTIVE_UNITS = 5.0
"""Effective units of each arm below which no interval of any kind is given."""


class Level(NamedTuple):
    """How sure a comparison is."""

    alpha: float = 0.05
    """1 - confidence level."""
    tuned_at: float = TUNED_AT
    """Planned units of both arms: there the always-valid interval is narrowest."""
    comparisons: int = 1
    """Comparisons for which the simultaneous interval holds together (Bonferroni)."""


LEVEL = Level()


class StratifiedComparison(NamedTuple):
    """Treatment against control."""

    comparison: Comparison
    """Values, difference, test and interval for one look."""
    always_valid: AlwaysValid
    """The same for every look together. Before its interval opens, the p-value of yes-or-no values is exact."""
    simultaneous: Interval
    """The always-valid interval of the difference for all comparisons together."""
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
    level: Level = LEVEL,
    value_range: tuple[float, float] | None = None,
    adjusted: Adjusted | None = None,
) -> StratifiedComparison:
    """Compare two arms over strata of constant shares, at one look and at every look.

    Each arm: value = sum_h W_h N_h / sum_h W_h D_h, variance sum_h W_h^2 var_h / n_h, W_h = the stratum's share of all
    units. `value_range` is the range of a single value where it is bounded; `adjusted` are the same strata after
    `experiments.arms.adjustment`. Raises `DataError` when no stratum has two units in each arm, or when a denominator sums
    to 0.
    """
    usable = _usable(strata)
    if not usable:
        raise DataError("an arm has fewer than two units", fix="wait for more units with settled decisions")
    weights = np.array([stratum.units for stratum in usable], dtype=np.float64)
    weights /= weights.sum()
    support = _support(usable, weights, value_range)
    compared = usable if adjusted is None else _usable(adjusted.strata)
    arms = [_Arm([stratum.cells[side] for stratum in compared], weights) for side in (0, 1)]
    shared = 0.0 if adjusted is None else adjusted.shared_variance
    comparison = _one_look(arms, level.alpha, shared)
    if comparison.std_error is not None and support.units < MIN_EFFECTIVE_UNITS:
        comparison = _without_interval(comparison, support)
    variances, units = _larger_variances(arms), (arms[0].units, arms[1].units)
    design = Design(sum(units), level.tuned_at, shared)
    sequence = always_valid(comparison, variances, support, design, alpha=level.alpha)
    if sequence.p_value is None:
        sequence = sequence._replace(p_value=_exact_p(usable))
    together = always_valid(comparison, variances, support, design, alpha=level.alpha / level.comparisons).interval
    left_out = sum(stratum.units for stratum in strata) - sum(units)
    return StratifiedComparison(comparison, sequence, together, support, variances, units, left_out)


def _exact_p(strata: Sequence[Stratum]) -> float | None:
    """The exact p-value of proportions, for the time before the sequence opens; None where values are not yes or no."""
    counts = []
    for stratum in strata:
        control, treatment = stratum.cells
        if stratum.chance is None or control.events is None or treatment.events is None:
            return None
        units = (control.moments.n, treatment.moments.n)
        counts.append(Counts(stratum.chance, (control.events, treatment.events), units))
    return p_value(counts)


def _one_look(arms: Sequence[_Arm], alpha: float, shared_variance: float) -> Comparison:
    method = "Welch t" if len(arms[0].sizes) == 1 else "post-stratified, Welch t"
    control, treatment = (arm.estimate() for arm in arms)
    comparison = compare_estimates(control, treatment, alpha=alpha, method=method)
    if shared_variance == 0 or comparison.std_error is None:
        return comparison
    ends = [arm._replace(variance=arm.variance + shared_variance) for arm in (control, treatment)]
    _, relative = relative_lift(ends[0], ends[1], alpha=alpha, covariance=shared_variance)
    return comparison._replace(relative_interval=relative, method=f"{method}, adjusted for a covariate")


def _usable(strata: Sequence[Stratum]) -> list[Stratum]:
    return [stratum for stratum in strata if min(cell.moments.n for cell in stratum.cells) >= 2]


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
