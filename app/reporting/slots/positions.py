"""What each position of an arm's lists earned, and what its whole lists did, as the arm filled them.

Units got their arms at random, so the mean of an arm's position estimates what the arm's way of filling its lists earns there, on
adaptive logs too. It does not say what another action would earn at that position.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.foundation.formats.intervals import IntervalDocument, document_of
from app.reporting.documents.slots import ActionAtPosition, ListEarned, PositionEarned
from app.reporting.store.slots import Shown
from experiments.off_policy import unit_sums
from experiments.off_policy.unit_sums import UnitSums
from experiments.results import missing

LISTED = 3  # actions of a position
Bounds = tuple[float, float]


class _Earned(NamedTuple):
    value: float
    units: int
    interval: IntervalDocument


def earned(rows: Sequence[Shown], bounds: Bounds) -> list[PositionEarned]:
    """Every position of every arm.

    :param bounds: of a single reward.
    """
    by_position = defaultdict[tuple[str, int], list[Shown]](list)
    for row in rows:
        by_position[row.arm, row.position].append(row)
    return [_position(arm, position, own, bounds) for (arm, position), own in sorted(by_position.items())]


def lists(rows: Sequence[Shown], bounds: Bounds) -> list[ListEarned]:
    """The whole lists of every arm: the sum of what their positions earned."""
    longest = max((row.position for row in rows), default=1)
    by_arm = defaultdict[str, list[Shown]](list)
    for row in rows:
        by_arm[row.arm].append(row)
    result = []
    for arm, own in sorted(by_arm.items()):
        counts = {row.unit_id: 0 for row in own}
        for row in own:
            counts[row.unit_id] += row.shown if row.position == 1 else 0
        whole = [row for row in own if counts[row.unit_id]]  # lists whose top was not read are not whole
        if not whole:
            continue
        sums = _mean(whole, counts, (longest * min(bounds[0], 0.0), longest * max(bounds[1], 0.0)))
        result.append(
            ListEarned(arm=arm, lists=sum(counts.values()), units=sums.units, value=sums.value, interval=sums.interval)
        )
    return result


def _position(arm: str, position: int, rows: list[Shown], bounds: Bounds) -> PositionEarned:
    counts, shown = Counter[str](), Counter[str]()
    for row in rows:
        counts[row.unit_id] += row.shown
        shown[row.action] += row.shown
    total = sum(counts.values())
    sums = _mean(rows, counts, bounds)
    return PositionEarned(
        arm=arm,
        position=position,
        shown=total,
        units=sums.units,
        reported=sum(row.reported for row in rows) / total,
        value=sums.value,
        interval=sums.interval,
        actions=[
            ActionAtPosition(action=name, shown=count, share=count / total)
            for name, count in sorted(shown.items(), key=lambda item: (-item[1], item[0]))[:LISTED]
        ],
    )


def _mean(rows: Sequence[Shown], counts: dict[str, int], bounds: Bounds) -> _Earned:
    """The mean reward per count over units, with the interval for every look."""
    units = [unit for unit, count in counts.items() if count]
    index = {unit: position for position, unit in enumerate(units)}
    amount, weight = np.zeros(len(units)), np.array([counts[unit] for unit in units], dtype=np.float64)
    for row in rows:
        amount[index[row.unit_id]] += row.reward
    sums = UnitSums(amount, weight)
    value = sums.value
    assert value is not None  # every unit has weight
    shut = unit_sums.shut(sums, bounds)
    interval = missing(shut) if shut else unit_sums.always_valid(sums, bounds)
    return _Earned(value, len(units), document_of(interval))
