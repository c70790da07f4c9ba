"""Sums of a run by look, as the database would give them: moments over units per arm and stretch.

A unit's sums grow from look to look. Each look's table holds the growth only, so that sums up to a look are sums of rows.
"""

from typing import NamedTuple

import numpy as np

from app.reporting.comparison.stretches import Ends
from app.reporting.store.metric_sums import ArmSums
from app.simulation.course import Course
from app.simulation.people import Log
from experiments.validation import BoolArray, FloatArray, IntArray

UNITS, DECISIONS, NUM, DEN, NUM2, DEN2, CROSS, SIZE, BASE, EXTRA = range(10)


class Visitors(NamedTuple):
    """The decisions of each unit between two looks, of the units and decisions that may count."""

    cell: IntArray  # of look, first stretch, stretch in which the unit is moved, and arm
    starts: IntArray  # index of the first decision
    new: BoolArray  # the unit was not seen before
    decisions: FloatArray
    kept: BoolArray  # of the log's decisions: made in the unit's first arm
    shape: tuple[int, int, int, int]


class Tally(NamedTuple):
    """Sums up to each look: shape (looks, stretches, stretches + 1, arms, columns)."""

    course: Course
    sums: FloatArray

    def rows(self, look: int, arms: tuple[int, ...], ends: Ends) -> list[ArmSums]:
        """The sums of some arms at a look, over the units that belong to a comparison of them."""
        parts = (
            (arm, stretch, self._of(look, arm, stretch, end))
            for arm in arms
            for stretch, end in enumerate(ends.by_stretch)
        )
        return [_row(self.course.arms[arm], stretch, sums) for arm, stretch, sums in parts if sums[UNITS] > 0]

    def pooled(self, look: int, arms: tuple[int, ...], ends: Ends) -> FloatArray:
        """All columns, summed over arms and stretches."""
        parts = [self._of(look, arm, stretch, end) for arm in arms for stretch, end in enumerate(ends.by_stretch)]
        return np.asarray(np.sum(parts, axis=0))

    def _of(self, look: int, arm: int, stretch: int, end: int) -> FloatArray:
        if end == 0:
            return np.zeros(self.sums.shape[-1])
        last = int(np.searchsorted(self.course.stretch_of_look, end, side="left")) - 1
        return np.asarray(self.sums[min(look, last), stretch, end:, arm].sum(axis=0))


def visitors(course: Course, log: Log) -> Visitors:
    """Group a log's decisions by unit and look, with the cell in which they count."""
    first = np.flatnonzero(np.concatenate([[True], log.unit[1:] != log.unit[:-1]]))
    units = log.unit[first]
    stretch = course.stretch_of_look[log.look[first]]
    arm = log.arm[first]
    moved = _moved(log.homes[:, units], stretch, arm)
    index = np.arange(len(units)) if log.single else np.repeat(np.arange(len(units)), np.diff([*first, len(log.unit)]))
    kept = log.arm == arm[index]
    index, look = index[kept], log.look[kept]
    new_unit = np.concatenate([[True], index[1:] != index[:-1]])
    starts = np.flatnonzero(new_unit | np.concatenate([[True], look[1:] != look[:-1]]))
    of = index[starts]
    stretches, arms = len(course.stretches), len(course.arms)
    shape = (len(course.ends), stretches, stretches + 1, arms)
    cell = np.ravel_multi_index((look[starts], stretch[of], moved[of], arm[of]), shape)
    counts = np.diff([*starts, len(look)]).astype(np.float64)
    return Visitors(cell, starts, new_unit[starts], counts, kept, shape)


def _moved(homes: IntArray, stretch: IntArray, arm: IntArray) -> IntArray:
    """The first stretch that moves each unit to another arm; the number of stretches when none does."""
    moved = np.full(len(arm), len(homes))
    for later in reversed(range(1, len(homes))):
        moved[(later > stretch) & (homes[later] != arm)] = later
    return moved


def tally(
    course: Course, seen: Visitors, values: FloatArray, base: FloatArray, extra: FloatArray | None, per_unit: str
) -> Tally:
    """Sum one metric.

    :param base: the control's mean of each decision; `extra` is what an arm's way of choosing adds to it.
    :param per_unit: empty: per decision; "mean": each unit's mean; "sum": each unit's sum.
    """
    num, den = _grown(seen, values, per_unit)
    table = np.empty((len(seen.cell), 10))
    table[:, UNITS], table[:, DECISIONS] = seen.new, seen.decisions
    for column, after, before in (
        (NUM, num[1], num[0]),
        (DEN, den[1], den[0]),
        (NUM2, num[1] ** 2, num[0] ** 2),
        (DEN2, den[1] ** 2, den[0] ** 2),
        (CROSS, num[1] * den[1], num[0] * den[0]),
        (SIZE, np.abs(num[1]), np.abs(num[0])),
    ):
        np.subtract(after, before, out=table[:, column])
    table[:, BASE] = _between(seen, base)
    table[:, EXTRA] = 0.0 if extra is None else _between(seen, extra)
    size = int(np.prod(seen.shape))
    sums = np.stack([np.bincount(seen.cell, weights=table[:, column], minlength=size) for column in range(10)], axis=-1)
    return Tally(course, np.cumsum(sums.reshape(*seen.shape, 10), axis=0))


def _between(seen: Visitors, values: FloatArray) -> FloatArray:
    """The sum of each unit's values between two looks."""
    kept = values[seen.kept]
    return kept if len(kept) == len(seen.starts) else np.asarray(np.add.reduceat(kept, seen.starts))


def _grown(
    seen: Visitors, values: FloatArray, per_unit: str
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Numerator and denominator of each unit, before and after what it did between two looks."""
    total, count = _before_and_after(seen, _between(seen, values)), _before_and_after(seen, seen.decisions)
    if not per_unit:
        return total, count
    one = np.where(seen.new, 0.0, 1.0), np.ones(len(seen.new))
    if per_unit == "sum":
        return total, one
    return (total[0] / np.maximum(count[0], 1.0), total[1] / count[1]), one


def _before_and_after(seen: Visitors, grown: FloatArray) -> tuple[FloatArray, FloatArray]:
    if seen.new.all():
        return np.zeros(len(grown)), grown
    running = np.cumsum(grown)
    first = np.flatnonzero(seen.new)
    until = np.repeat(running[first] - grown[first], np.diff([*first, len(grown)]))
    after = running - until
    return after - grown, after


def _row(arm: str, stretch: int, sums: FloatArray) -> ArmSums:
    units = float(sums[UNITS])
    num, den, num2, den2, cross, size = (float(sums[column]) / units for column in (NUM, DEN, NUM2, DEN2, CROSS, SIZE))
    return ArmSums(
        arm=arm,
        segment=None,
        stretch=stretch,
        units=round(units),
        decisions=round(float(sums[DECISIONS])),
        mean_num=num,
        mean_den=den,
        var_num=max(num2 - num**2, 0.0),
        var_den=max(den2 - den**2, 0.0),
        cov=cross - num * den,
        mean_size=size,
    )
