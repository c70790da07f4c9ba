"""Many candidate policies on one log: which of them are shown to be better than the baseline.

Differences are paired (same rows). Their p-values and intervals are Student's with a jackknife error over units, and both
are corrected for the number of candidates in the same way (Bonferroni), so that a corrected p lies below alpha exactly when
the simultaneous interval excludes the minimum effect. Holm's procedure would name a winner in the same logs, but its
p-values have no such intervals. A candidate whose verdict is "not identified" takes part in the correction but can never be
promoted. This module must never be given the candidates that survived an earlier look at the same log.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.off_policy import unit_sums
from experiments.off_policy.estimators import Estimate, difference
from experiments.off_policy.verdict import Verdict
from experiments.off_policy.verdict_words import sentences
from experiments.results import Interval, missing
from experiments.validation import DataError, IntArray, fraction

NO_ERROR = 1e-15
NO_DIFFERENCE = "it never differs from the baseline"
SMALLEST_P = 0.0001  # smaller p-values are written as below it


class Gap(NamedTuple):
    """A paired difference of two values."""

    difference: float
    """First minus second, unit of the reward."""
    std_error: float
    """Jackknife standard error over units, same unit; 0 when the two never differ."""
    freedom: float = inf
    """Student's degrees of freedom of that error."""

    def interval(self, alpha: float = 0.05, comparisons: int = 1) -> Interval:
        """Two-sided interval at alpha / comparisons: simultaneous over that many gaps (Bonferroni)."""
        if self.std_error <= 0:
            return missing(NO_DIFFERENCE)
        reach = self.std_error * float(stats.t.isf(fraction("alpha", alpha) / (2 * comparisons), self.freedom))
        if not np.isfinite(reach):
            return missing(unit_sums.TOO_FEW)
        return Interval(self.difference - reach, self.difference + reach)

    def p_value(self, minimum_effect: float = 0.0) -> float:
        """Two-sided p-value of a difference of `minimum_effect`."""
        if self.std_error <= 0:
            return 1.0
        return float(2 * stats.t.sf(abs(self.difference - minimum_effect) / self.std_error, self.freedom))


class Candidate(NamedTuple):
    """A candidate against the baseline."""

    name: str
    """As given."""
    difference: float
    """Candidate minus baseline, unit of the reward."""
    std_error: float
    """Of the paired difference."""
    p_value: float
    """Two-sided, of a difference of the minimum effect."""
    adjusted_p: float
    """Bonferroni over all candidates: below alpha exactly when `interval` excludes the minimum effect."""
    interval: Interval
    """Simultaneous two-sided interval (Bonferroni over all candidates)."""
    promoted: bool
    """True when `interval` lies above the minimum effect and the verdict allows it."""
    reason: str
    """Why it is not promoted; empty when it is."""


def paired_sums(first: Estimate, second: Estimate, unit: IntArray | None = None) -> unit_sums.UnitSums:
    """Sums within units of first - second and of rows, on the same rows. `unit` holds codes from 0, one per row."""
    gap = difference(first, second)
    return unit_sums.mean_sums(gap.influence + gap.value, unit)


def paired(first: Estimate, second: Estimate, unit: IntArray | None = None) -> Gap:
    """first - second on the same rows, with its error over units. Raises `DataError` for fewer than two units."""
    return gap_of(paired_sums(first, second, unit))


def gap_of(sums: unit_sums.UnitSums) -> Gap:
    """The same from sums within units of the differences of rows. Raises `DataError` for fewer than two units."""
    error, freedom = unit_sums.standard_error(sums), unit_sums.degrees_of_freedom(sums)
    if sums.value is None or error is None or freedom is None:
        raise DataError("there is only one independent unit", fix="a standard error needs at least two")
    return Gap(sums.value, error if error > NO_ERROR else 0.0, freedom)


def differences(estimates: Sequence[Estimate], baseline: Estimate, unit: IntArray | None = None) -> list[Gap]:
    """`paired` of each estimate with the baseline."""
    return [paired(estimate, baseline, unit) for estimate in estimates]


def judge(
    names: Sequence[str],
    gaps: Sequence[Gap],
    verdicts: Sequence[Verdict],
    *,
    minimum_effect: float = 0.0,
    alpha: float = 0.05,
) -> list[Candidate]:
    """Candidates in the given order. `gaps` from `differences`.

    The chance of promoting any candidate that is not better by more than `minimum_effect` is at most alpha / 2, and the
    chance that any interval misses is at most alpha, at one look. Raises `DataError` for lists of different lengths.
    """
    if not len(names) == len(gaps) == len(verdicts) or not names:
        raise DataError("names, differences and verdicts have different lengths", fix="pass one of each per candidate")
    fraction("alpha", alpha)
    judged = []
    for name, gap, verdict in zip(names, gaps, verdicts, strict=True):
        p = gap.p_value(minimum_effect)
        adjusted = min(1.0, p * len(names))
        reason = _reason(adjusted, alpha, verdict, better=gap.difference > minimum_effect)
        interval = gap.interval(alpha, len(names))
        judged.append(Candidate(name, gap.difference, gap.std_error, p, adjusted, interval, not reason, reason))
    return judged


def _reason(adjusted: float, alpha: float, verdict: Verdict, *, better: bool) -> str:
    if not verdict.identified:
        return "not identified: " + "; ".join(sentences(verdict.reasons))
    p = f"p < {SMALLEST_P}" if adjusted < SMALLEST_P else f"p = {adjusted:.3g}"
    if adjusted < alpha:
        return "" if better else f"shown to be worse: {p} after correction for all candidates"
    return f"not shown to be better: {p} after correction for all candidates"


def detectable_difference(std_error: float, candidates: int, alpha: float = 0.05, wanted_power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test of `candidates` policies would show with `wanted_power`."""
    z = stats.norm.isf(fraction("alpha", alpha) / (2 * max(candidates, 1))) + stats.norm.isf(
        1 - fraction("power", wanted_power)
    )
    return float(z) * std_error
