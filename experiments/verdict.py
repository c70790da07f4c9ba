"""Whether a log can answer the question: a status, and reasons with their numbers.

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
    """A finding of the gate."""

    code: str
    """Stable short name, for programs."""
    sentence: str
    """For people: the finding and what it means."""
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


def judge(d: Diagnostics) -> Verdict:
    """The gate, with limits as in docs/statistics.md ("Verdict")."""
    findings = (_mean_weight(d), _effective(d), _dominance(d), _support(d), _disagreement(d), _rare(d), _unseen(d))
    reasons = tuple(reason for reason in findings if reason is not None)
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
    if z is not None and abs(z) <= MAX_WEIGHT_Z:
        return None
    distance = "with no spread at all" if z is None else f"{z:+.1f} standard errors from 1"
    sentence = (
        f"the mean weight is {d.mean_weight:.4g}, {distance}: the logged propensities or the support are broken "
        "(true weights average 1)"
    )
    return Reason("mean_weight", sentence, z, MAX_WEIGHT_Z, True)


def _effective(d: Diagnostics) -> Reason | None:
    limit = max(MIN_EFFECTIVE, MIN_EFFECTIVE_SHARE * d.rows)
    if d.effective_sample_size >= limit:
        return None
    sentence = (
        f"the effective sample size is {d.effective_sample_size:.1f} of {d.rows} rows, below {limit:.0f}: the log "
        "holds too few decisions like the target policy's; only shrunk estimates exist"
    )
    return Reason("effective_sample_size", sentence, d.effective_sample_size, limit, True)


def _dominance(d: Diagnostics) -> Reason | None:
    total = d.mean_weight * d.rows
    share = d.max_weight / total if total > 0 else 1.0
    if share <= MAX_ROW_SHARE:
        return None
    sentence = (
        f"one row carries {share:.1%} of all weight (limit {MAX_ROW_SHARE:.0%}): the value depends on a single reward"
    )
    if total <= 0:
        sentence = "no row carries any weight: the log never chose what the target policy would choose"
    return Reason("row_dominance", sentence, share, MAX_ROW_SHARE, True)


def _support(d: Diagnostics) -> Reason | None:
    if d.unsupported_mass is None or d.unsupported_mass <= MAX_UNSUPPORTED:
        return None
    sentence = (
        f"{d.unsupported_mass:.1%} of the target's choices fall on actions that were never logged "
        f"(limit {MAX_UNSUPPORTED:.0%}): no log of these policies holds their rewards"
    )
    return Reason("unsupported", sentence, d.unsupported_mass, MAX_UNSUPPORTED, True)


def _disagreement(d: Diagnostics) -> Reason | None:
    if d.disagreement is None or d.disagreement <= MAX_DISAGREEMENT:
        return None
    sentence = (
        f"DR and SNIPS differ by {d.disagreement:.1f} standard errors of their paired difference: check that the "
        "reward model never saw the rows that it predicts, and that propensities are true"
    )
    return Reason("estimator_disagreement", sentence, d.disagreement, MAX_DISAGREEMENT, False)


def _rare(d: Diagnostics) -> Reason | None:
    if d.effective_rewards is None or d.effective_rewards >= MIN_EFFECTIVE_REWARDS:
        return None
    sentence = (
        f"only {d.effective_rewards:.1f} effective rewards (or failures, whichever are rarer) support the value: "
        f"below {MIN_EFFECTIVE_REWARDS:.0f} normal intervals cover too rarely; read the Cressie-Read or the sequence interval"
    )
    return Reason("rare_rewards", sentence, d.effective_rewards, MIN_EFFECTIVE_REWARDS, False)


def _unseen(d: Diagnostics) -> Reason | None:
    if d.possible_weight is None or d.rows >= MIN_ROWS_PER_WEIGHT * d.possible_weight:
        return None
    per_weight = d.rows / d.possible_weight
    sentence = (
        f"a weight of {d.possible_weight:.1f} is possible, and there are only {per_weight:.0f} rows for each unit of it: rows "
        f"that would move the value may not have been drawn yet (limit {MIN_ROWS_PER_WEIGHT:.0f}); read the Cressie-Read or the "
        "sequence interval"
    )
    return Reason("unseen_weights", sentence, per_weight, MIN_ROWS_PER_WEIGHT, False)


def unsupported_mass(target_mean: list[float] | tuple[float, ...], logged_counts: list[int] | tuple[int, ...]) -> float:
    """Share of target probability on never-logged actions, from per-action mean target probability and log counts."""
    return float(sum(p for p, count in zip(target_mean, logged_counts, strict=True) if count == 0))
