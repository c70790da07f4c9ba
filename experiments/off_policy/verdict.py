"""Whether a log can answer the question: a status, and reasons as codes with their numbers.

The gate refuses and never repairs: a number that fails is "not_identified". This module must never let such a number
become a headline, or suppress a warning.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MAX_WEIGHT_Z = 3.0
ROUNDING = 1e-9
"""A mean weight that differs from 1 by less is 1."""
MIN_EFFECTIVE = 100.0
MIN_EFFECTIVE_SHARE = 0.005
MIN_EFFECTIVE_UNITS = 10.0
"""In simulation intervals of unit sums covered at least as often as they say from here on (`benchmarks.unit_coverage`)."""
MAX_ROW_SHARE = 0.05
MAX_UNSUPPORTED = 0.01
MAX_DISAGREEMENT = 3.0
MIN_EFFECTIVE_REWARDS = 75.0
"""In simulation normal intervals covered 94% or more from here on, and 93% with 40 to 60."""

MIN_ROWS_PER_WEIGHT = 75.0
"""On logs of 56 rows per largest possible weight, runs in which no heavy row happened to be drawn looked harmless, and
normal intervals covered 82 to 90% of them; at 279 they covered 92 to 95%."""


class Status(StrEnum):
    """What may be done with the numbers."""

    IDENTIFIED = "identified"
    """The log answers; intervals mean what they say."""
    WARNING = "warning"
    """The log answers, but look at the reasons before you decide."""
    NOT_IDENTIFIED = "not_identified"
    """The log does not answer; use the numbers for debugging only."""


class Reason(NamedTuple):
    """A finding of the gate. `experiments.off_policy.verdict_words` has its words."""

    code: str
    """Stable short name, for programs."""
    params: dict[str, float]
    """The numbers that its sentence names."""
    value: float | None
    """The measured number."""
    limit: float | None
    """The limit that it crossed."""
    fatal: bool
    """True when it alone makes the value not identified."""


class Verdict(NamedTuple):
    """The gate's answer."""

    status: Status
    """The worst of the reasons."""
    reasons: tuple[Reason, ...]
    """Empty when the status is "identified"."""

    @property
    def identified(self) -> bool:
        """Whether numbers may be shown as results (with or without a warning)."""
        return self.status is not Status.NOT_IDENTIFIED


class Diagnostics(NamedTuple):
    """The numbers that the gate checks. None means that this log does not tell."""

    rows: int
    """Rows in the log."""
    mean_weight: float
    """Mean importance weight; 1 when propensities and support are right."""
    mean_weight_error: float | None
    """Standard error of the mean weight."""
    effective_sample_size: float
    """Kish: (sum w)^2 / sum w^2."""
    max_weight: float
    """Largest weight seen."""
    unsupported_mass: float | None = None
    """Mean share of target probability on actions that the logging policy never chose."""
    disagreement: float | None = None
    """|DR - SNIPS| in standard errors of their paired difference."""
    effective_rewards: float | None = None
    """Kish size of the weighted rewards, or of the weighted shortfalls from the best reward, whichever is smaller."""
    possible_weight: float | None = None
    """Largest weight that any action of any row could have had."""
    units: int | None = None
    """Independent units; None when rows are independent."""
    effective_units: float | None = None
    """Kish: (sum of unit weights)^2 / sum of their squares; None when rows are independent."""


def judge(d: Diagnostics) -> Verdict:
    """The gate, with limits as in docs/statistics.md ("Verdict")."""
    checks = (_mean_weight, _effective, _units, _dominance, _support, _disagreement, _rare, _unseen)
    reasons = tuple(reason for check in checks if (reason := check(d)) is not None)
    if any(reason.fatal for reason in reasons):
        return Verdict(Status.NOT_IDENTIFIED, reasons)
    return Verdict(Status.WARNING if reasons else Status.IDENTIFIED, reasons)


def weight_z(d: Diagnostics) -> float | None:
    """(mean weight - 1) / its standard error; None when that error is 0 and the mean is not 1, 0 when both agree."""
    gap = d.mean_weight - 1
    if abs(gap) < ROUNDING:
        return 0.0
    return gap / d.mean_weight_error if d.mean_weight_error else None


def _mean_weight(d: Diagnostics) -> Reason | None:
    z = weight_z(d)
    if z is None:
        return Reason("mean_weight_constant", {"mean": d.mean_weight}, None, MAX_WEIGHT_Z, True)
    if abs(z) <= MAX_WEIGHT_Z:
        return None
    return Reason("mean_weight", {"mean": d.mean_weight, "z": z}, z, MAX_WEIGHT_Z, True)


def _effective(d: Diagnostics) -> Reason | None:
    limit, size = max(MIN_EFFECTIVE, MIN_EFFECTIVE_SHARE * d.rows), d.effective_sample_size
    if size >= limit:
        return None
    return Reason("effective_sample_size", {"size": size, "rows": d.rows, "limit": limit}, size, limit, True)


def _units(d: Diagnostics) -> Reason | None:
    size = d.effective_units
    if d.units is None or size is None or size >= MIN_EFFECTIVE_UNITS:
        return None
    params = {"size": size, "units": d.units, "limit": MIN_EFFECTIVE_UNITS}
    return Reason("effective_units", params, size, MIN_EFFECTIVE_UNITS, True)


def _dominance(d: Diagnostics) -> Reason | None:
    total = d.mean_weight * d.rows
    if total <= 0:
        return Reason("no_weight", {}, 1.0, MAX_ROW_SHARE, True)
    share = d.max_weight / total
    if share <= MAX_ROW_SHARE:
        return None
    return Reason("row_dominance", {"share": share, "limit": MAX_ROW_SHARE}, share, MAX_ROW_SHARE, True)


def _support(d: Diagnostics) -> Reason | None:
    share = d.unsupported_mass
    if share is None or share <= MAX_UNSUPPORTED:
        return None
    return Reason("unsupported", {"share": share, "limit": MAX_UNSUPPORTED}, share, MAX_UNSUPPORTED, True)


def _disagreement(d: Diagnostics) -> Reason | None:
    gap = d.disagreement
    if gap is None or not gap > MAX_DISAGREEMENT:  # NaN: both errors are 0 or beyond computing, as in one row
        return None
    return Reason("estimator_disagreement", {"errors": gap}, gap, MAX_DISAGREEMENT, False)


def _rare(d: Diagnostics) -> Reason | None:
    size = d.effective_rewards
    if size is None or size >= MIN_EFFECTIVE_REWARDS:
        return None
    params = {"size": size, "limit": MIN_EFFECTIVE_REWARDS}
    return Reason("rare_rewards", params, size, MIN_EFFECTIVE_REWARDS, False)


def _unseen(d: Diagnostics) -> Reason | None:
    if d.possible_weight is None or d.rows >= MIN_ROWS_PER_WEIGHT * d.possible_weight:
        return None
    rows = d.rows / d.possible_weight
    params = {"weight": d.possible_weight, "rows": rows, "limit": MIN_ROWS_PER_WEIGHT}
    return Reason("unseen_weights", params, rows, MIN_ROWS_PER_WEIGHT, False)


def unsupported_mass(target_mean: list[float] | tuple[float, ...], logged_counts: list[int] | tuple[int, ...]) -> float:
    """Share of target probability on never-logged actions, from per-action mean target probability and log counts."""
    return float(sum(p for p, count in zip(target_mean, logged_counts, strict=True) if count == 0))
