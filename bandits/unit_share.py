"""A bound on what one unit may teach a model: no unit makes up more than a share of the rows that are learned.

One bot with thousands of decisions would otherwise decide what everybody gets. Rows are left out, not weighted: every learning
algorithm then learns the same way, and the ledger alone says what was learned.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

LEAST: Final = 20  # rows that every unit may teach, however short the log is
TYPICAL: Final = 4.0  # where units are few, one may teach as much as four of them


def most_rows(counts: Iterable[int], share: float) -> int:
    """The most rows of one unit, so that none makes up more than a share of the rows that are then left.

    The largest c with ``c <= s sum(min(n, c))`` over the units' counts n. With fewer than ``4 / share`` units s is four times an
    equal share: people differ, and in a short log by chance alone.

    :param counts: rows of each unit.
    :param share: in (0, 1]; 1: no bound.
    """
    sizes = sorted(counts, reverse=True)
    if not sizes:
        return LEAST
    share = max(share, TYPICAL / len(sizes))
    if share >= 1.0:
        return max(LEAST, sizes[0])
    rest = sum(sizes)
    for capped, size in enumerate(sizes):
        most = share * rest / (1.0 - share * capped)
        if size <= most:
            return max(LEAST, int(most))
        rest -= size
    raise AssertionError("most units are smaller than four times an equal share")


def kept(units: Sequence[str], share: float, before: Mapping[str, int] | None = None) -> list[bool]:
    """Which rows to learn: of each unit the newest ones, up to ``most_rows`` together with those that were learned before.

    :param units: the unit of each row, oldest first.
    :param before: rows that a model has learned lately, by unit.
    """
    learned = Counter(before or {})
    most = most_rows((learned + Counter(units)).values(), share)
    keep = [False] * len(units)
    for index in range(len(units) - 1, -1, -1):
        unit = units[index]
        if learned[unit] < most:
            keep[index] = True
            learned[unit] += 1
    return keep
