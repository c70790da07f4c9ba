"""The intervals of an off-policy report that need rows, or that follow from sums of weighted rewards, by estimator.

Rows that are independent and rows of units that return have different methods: each has its one-look intervals and its
always-valid one. This module must never show a method whose assumptions the rows contradict: it gives a reason.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple, TypeAlias

import numpy as np

from experiments import sequences
from experiments.off_policy import intervals, likelihood, unit_sums, value_sequence
from experiments.policy_reports.report_lines import NO_UNITS, ROWS_OF_A_UNIT, Settings
from experiments.results import Interval, missing
from experiments.sums import PolicySums
from experiments.validation import FloatArray, IntArray

ByEstimator: TypeAlias = dict[str, dict[str, Interval]]
WEIGHTED = ("ips", "snips")
CHUNK_ROWS = 1 << 16
OF_UNITS = "of units: asymptotic in their number"
OF_INDEPENDENT_ROWS = ("cressie_read", "empirical_likelihood", "confidence_sequence")


class Rows(NamedTuple):
    """Checked columns of a log, each of shape (rows,), in time order."""

    w: FloatArray
    r: FloatArray
    q: FloatArray | None
    v: FloatArray | None
    possible: FloatArray
    """The largest weight that any action of the row could have had; infinite where it is unknown."""
    unit: IntArray | None
    stands_for: FloatArray | float = 1.0
    """How many decisions each row stands for."""


def by_estimator(rows: Rows, settings: Settings, total: PolicySums) -> ByEstimator:
    """The intervals of a log from its rows, by estimator and name; with units also that of "lift"."""
    return _of_units(rows, settings) if rows.unit is not None else _of_rows(rows, settings, total)


def from_sums(
    total: PolicySums,
    settings: Settings,
    *,
    clustered: bool,
    sequence: sequences.SequenceState | None,
    values: value_sequence.ValueState | None,
) -> ByEstimator:
    """The intervals that sums and states of sequences support; the others say what they need."""
    needs_rows = missing("needs the rows, and this report was made from sums")
    if clustered:
        given = {name: missing(ROWS_OF_A_UNIT) for name in OF_INDEPENDENT_ROWS}
        return _both(given | {"unit_sums": needs_rows, "always_valid": needs_rows})
    ordered, bounds, alpha = missing("needs the rows in time order"), settings.reward_range, settings.alpha
    given = {
        "cressie_read": _cressie_read(total, settings),
        "empirical_likelihood": needs_rows,
        "unit_sums": missing(NO_UNITS),
        "confidence_sequence": ordered if sequence is None else sequences.gamma_exponential(sequence, bounds, alpha),
        "always_valid": ordered if values is None else value_sequence.interval(values, bounds, alpha),
    }
    return _both(given)


def _both(given: dict[str, Interval]) -> ByEstimator:
    return dict.fromkeys(WEIGHTED, given)


def _of_rows(rows: Rows, settings: Settings, total: PolicySums) -> ByEstimator:
    bounds, alpha = settings.reward_range, settings.alpha
    wmax = inf if settings.max_weight is None else settings.max_weight
    state = sequences.START
    for start in range(0, len(rows.w), CHUNK_ROWS):
        cut = slice(start, start + CHUNK_ROWS)
        state = sequences.advance(state, rows.w[cut], rows.r[cut], bounds)
    values = value_sequence.advance(value_sequence.START, rows.w, rows.r, rows.possible, bounds)
    given = from_sums(total, settings, clustered=False, sequence=state, values=values)["snips"]
    given["empirical_likelihood"] = (
        missing("no weight lies above 1, so that E[w] = 1 cannot be imposed")
        if wmax <= 1 or total.max_weight <= 0
        else likelihood.empirical_likelihood(rows.w, rows.r, bounds, wmax, alpha)
    )
    if given["always_valid"].exists and bool(np.isinf(rows.possible).any()):
        note = "allows any weight: narrower when the largest possible weight is declared"
        given["always_valid"] = given["always_valid"]._replace(note=note)
    return _both(given)


def _cressie_read(total: PolicySums, settings: Settings) -> Interval:
    wmax = inf if settings.max_weight is None else settings.max_weight
    if wmax <= 1:
        return missing("the largest possible weight is 1: target and logging policy are the same")
    weight_sums = intervals.weight_sums_of(total.moments)
    return intervals.cressie_read(weight_sums, settings.reward_range, wmax, settings.alpha)


def _of_units(rows: Rows, settings: Settings) -> ByEstimator:
    one, w = np.ones_like(rows.w) * rows.stands_for, rows.w * rows.stands_for
    parts = {"ips": (w * rows.r, one), "snips": (w * rows.r, w)}
    if rows.q is not None and rows.v is not None:
        parts["dr"] = (rows.stands_for * rows.v + w * (rows.r - rows.q), one)
    bounds, alpha = settings.reward_range, settings.alpha
    closed = unit_sums.shut(unit_sums.unit_sums(*parts["snips"], rows.unit), bounds)
    out = {}
    for name, (amount, weight) in parts.items():
        sums = unit_sums.unit_sums(amount, weight, rows.unit)
        out[name] = {method: missing(ROWS_OF_A_UNIT) for method in OF_INDEPENDENT_ROWS}
        out[name]["unit_sums"] = unit_sums.one_look(sums, bounds, alpha)
        sequence = missing(closed) if closed else unit_sums.always_valid(sums, bounds, alpha)
        out[name]["always_valid"] = sequence._replace(note=sequence.note or ("" if closed else OF_UNITS))
    amount, weight = parts.get("dr", parts["ips"])
    widest = bounds[1] - bounds[0]
    lift = unit_sums.unit_sums(amount - rows.stands_for * rows.r, weight, rows.unit)
    out["lift"] = {"unit_sums": unit_sums.one_look(lift, (-widest, widest), alpha)}
    return out
