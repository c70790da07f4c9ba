"""The headline of an off-policy report: one value, its always-valid interval, and a one-look interval beside it.

It never assumes more than the log supports: with few effective rewards, unseen heavy weights or units that return, the
one-look interval is one that does not assume a normal distribution. This module must never show an always-valid interval
that is narrower than the one-look interval beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from experiments.off_policy.verdict import Verdict
from experiments.policy_reports.report_lines import EstimatorReport
from experiments.results import Interval, missing

NOT_NORMAL = frozenset({"rare_rewards", "unseen_weights"})
"""With these reasons, normal intervals cover too seldom."""
ENLARGED = "enlarged to hold the one-look interval beside it"


class Headline(NamedTuple):
    """What a report leads with. The verdict says whether it may be shown as a result."""

    estimator: str
    """Name of the estimator."""
    value: float | None
    """Unit of the reward."""
    always_valid: Interval
    """Holds at every look."""
    one_look: Interval
    """Holds for one look at a size that was fixed beforehand."""
    one_look_method: str
    """Name of its method."""


def not_normal(verdict: Verdict) -> bool:
    """Whether normal intervals would cover too seldom."""
    return any(reason.code in NOT_NORMAL for reason in verdict.reasons)


def headline(lines: Mapping[str, EstimatorReport], verdict: Verdict, *, clustered: bool) -> Headline:
    """Choose the estimator and its intervals from the lines of a report, by estimator."""
    modelled = lines["dr"].value is not None
    name = "dr" if modelled and (clustered or not not_normal(verdict)) else "snips"
    line = lines[name]
    method = _one_look(lines["snips"], verdict, clustered=clustered)
    sequence = (line if clustered else lines["snips"]).intervals["always_valid"]
    one_look = line.intervals[method]
    return Headline(name, line.value, hull(sequence, one_look), one_look, method)


def _one_look(weighted: EstimatorReport, verdict: Verdict, *, clustered: bool) -> str:
    if clustered:
        return "unit_sums"
    if not not_normal(verdict):
        return "normal"
    return "cressie_read" if weighted.intervals["cressie_read"].exists else "empirical_likelihood"


def hull(sequence: Interval, one_look: Interval) -> Interval:
    """The always-valid interval, enlarged where the one-look interval reaches beyond it."""
    if sequence.low is None or sequence.high is None:
        return sequence
    if one_look.low is None or one_look.high is None:
        return sequence
    low, high = min(sequence.low, one_look.low), max(sequence.high, one_look.high)
    if (low, high) == (sequence.low, sequence.high):
        return sequence
    return Interval(low, high, note="; ".join(part for part in (sequence.note, ENLARGED) if part))


def refused_difference(verdict: Verdict, *, clustered: bool) -> Interval | None:
    """The reason why no interval of a difference may be shown; None when it may."""
    if not verdict.identified:
        return missing("the log does not identify the value, and so no difference to it")
    if not clustered and not_normal(verdict):
        return missing("too few effective rewards, or heavy rows that may not have been drawn yet, for an interval")
    return None
