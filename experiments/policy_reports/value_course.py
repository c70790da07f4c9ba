"""How an off-policy value and its always-valid interval moved while the log grew.

Every point uses only what was decided before it; all of its intervals hold together, so that a chart of them may be read
at any point. This module must never show an interval at a look where the method says that it is shut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.off_policy import intervals, unit_sums, value_sequence
from experiments.policy_reports.headline import hull
from experiments.results import Interval, missing
from experiments.validation import FloatArray, IntArray

LOOKS = 20


class Point(NamedTuple):
    """The value after some rows."""

    rows: int
    value: float | None
    interval: Interval


class Course(NamedTuple):
    """Columns of a value, each of shape (rows,), in time order."""

    w: FloatArray
    r: FloatArray
    amount: FloatArray
    """The estimator is sum(amount) / sum(weight)."""
    weight: FloatArray
    possible: FloatArray
    unit: IntArray | None
    bounds: tuple[float, float]


def looks(rows: int) -> list[int]:
    """Numbers of rows at which to look: equally far apart, the last one at the end."""
    return sorted({int(size) for size in np.linspace(0, rows, LOOKS + 1)[1:] if size >= 1})


def of_rows(course: Course, alpha: float = 0.05) -> list[Point]:
    """For independent rows: the sequence of `experiments.off_policy.value_sequence`."""
    state, points, start = value_sequence.START, [], 0
    for size in looks(len(course.w)):
        cut = slice(start, size)
        state = value_sequence.advance(state, course.w[cut], course.r[cut], course.possible[cut], course.bounds)
        interval = value_sequence.interval(state, course.bounds, alpha)
        points.append(_point(course, size, interval, _one_look_of_rows(course, size, alpha)))
        start = size
    return points


def of_units(course: Course, alpha: float = 0.05) -> list[Point]:
    """For units that return, and for sums over lists: the sequence of `experiments.off_policy.unit_sums`."""
    points = []
    for size in looks(len(course.w)):
        unit = None if course.unit is None else course.unit[:size]
        sums = unit_sums.unit_sums(course.amount[:size], course.weight[:size], unit)
        weighted = unit_sums.unit_sums(course.w[:size] * course.r[:size], course.w[:size], unit)
        closed = unit_sums.shut(weighted, course.bounds)
        interval = missing(closed) if closed else unit_sums.always_valid(sums, course.bounds, alpha)
        points.append(_point(course, size, interval, unit_sums.one_look(sums, course.bounds, alpha)))
    return points


def _point(course: Course, size: int, interval: Interval, one_look: Interval) -> Point:
    total = float(course.weight[:size].sum())
    value = float(course.amount[:size].sum()) / total if total > 0 else None
    return Point(size, value, hull(interval, one_look))


def _one_look_of_rows(course: Course, size: int, alpha: float) -> Interval:
    """The normal interval of the ratio, by which the sequence is enlarged as in the headline."""
    amount, weight = course.amount[:size], course.weight[:size]
    if size < intervals.MIN_UNITS or weight.sum() <= 0:
        return missing("too few rows")
    value = float(amount.sum() / weight.sum())
    influence = (amount - value * weight) / weight.mean()
    return intervals.normal(value, intervals.standard_error(influence), alpha)
