"""Many candidate policies on one log: which of them are shown to be better than the baseline.

Differences are paired (same rows), one-sided p-values are corrected with Holm over all candidates, and a candidate
whose verdict is "not identified" takes part in the correction but can never be promoted. This module must never be
given the candidates that survived an earlier look at the same log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scipy import stats

from experiments.estimators import Estimate, difference
from experiments.intervals import standard_error
from experiments.multiplicity import adjust
from experiments.results import Interval, missing
from experiments.validation import DataError, IntArray, fraction
from experiments.verdict import Verdict


class Candidate(NamedTuple):
    """A candidate against the baseline."""

    name: str
    """As given."""
    difference: float
    """Candidate minus baseline, unit of the reward."""
    std_error: float
    """Of the paired difference."""
    p_value: float
    """One-sided, of "not better by more than the minimum effect"."""
    adjusted_p: float
    """Holm over all candidates."""
    interval: Interval
    """Simultaneous two-sided interval (Bonferroni over all candidates)."""
    promoted: bool
    """True when adjusted_p < alpha and the verdict allows it."""
    reason: str
    """Why it is not promoted; empty when it is."""


def differences(
    estimates: Sequence[Estimate], baseline: Estimate, unit: IntArray | None = None
) -> list[tuple[float, float]]:
    """(paired difference, standard error) of each estimate against the baseline on the same rows."""
    pairs = [difference(estimate, baseline) for estimate in estimates]
    return [(pair.value, standard_error(pair.influence, unit)) for pair in pairs]


def judge(
    names: Sequence[str],
    gaps: Sequence[tuple[float, float]],
    verdicts: Sequence[Verdict],
    *,
    minimum_effect: float = 0.0,
    alpha: float = 0.05,
) -> list[Candidate]:
    """Candidates in the given order. `gaps` from `differences`, or from `dr_lift` sums against what ran.

    The chance of promoting any candidate that is not better by more than `minimum_effect` is at most alpha, at one
    look.
    """
    if not len(names) == len(gaps) == len(verdicts) or not names:
        raise DataError("names, differences and verdicts have different lengths", fix="pass one of each per candidate")
    fraction("alpha", alpha)
    # A candidate without variance (such as the baseline itself) differs from nothing.
    raw = [float(stats.norm.sf((gap - minimum_effect) / se)) if se > 0 else 1.0 for gap, se in gaps]
    adjusted = adjust(raw, "holm")
    z = float(stats.norm.isf(alpha / (2 * len(names))))
    judged = []
    for name, (gap, se), p, holm, verdict in zip(names, gaps, raw, adjusted, verdicts, strict=True):
        corrected = 1.0 if holm is None else holm
        interval = Interval(gap - z * se, gap + z * se) if se > 0 else missing("it never differs from the baseline")
        reason = _reason(corrected, alpha, verdict)
        judged.append(Candidate(name, gap, se, p, corrected, interval, not reason, reason))
    return judged


def _reason(adjusted: float, alpha: float, verdict: Verdict) -> str:
    if not verdict.identified:
        return "not identified: " + "; ".join(reason.sentence for reason in verdict.reasons)
    if adjusted >= alpha:
        return f"not shown to be better: p = {adjusted:.3g} after correction for all candidates"
    return ""


def detectable_difference(std_error: float, candidates: int, alpha: float = 0.05, wanted_power: float = 0.8) -> float:
    """The smallest true difference that a test of `candidates` policies would show with `wanted_power`."""
    z = stats.norm.isf(fraction("alpha", alpha) / max(candidates, 1)) + stats.norm.isf(
        1 - fraction("power", wanted_power)
    )
    return float(z) * std_error
