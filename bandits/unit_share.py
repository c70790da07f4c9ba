"""A bound on what one unit may teach a model: no unit makes up more than a share of the rows that are learned.

One bot with thousands of decisions would otherwise decide what everybody gets. Rows are left out, not weighted: every learning
algorithm then learns the same way, and the ledger alone says what was learned.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

LEAST: Final = 20  # rows that every unit may teach, however short the log is
AT_ONCE: Final = 5  # rows that every unit may teach in one round, however small the round is
TYPICAL: Final = 4.0  # where units are few, one may teach as much as four of them


def most_rows(counts: Iterable[int], share: float, least: int = LEAST) -> int:
    """The most rows of one unit, so that none makes up more than a share of the rows that are then left.

    The largest c with ``c <= s sum(min(n, c))`` over the units' counts n. With fewer than ``4 / share`` units s is four times an
    equal share: people differ, and in a short log by chance alone.

    :param counts: rows of each unit.
    :param share: in (0, 1]; 1: no bound.
    :param least: what every unit may have.
    """
    sizes = sorted(counts, reverse=True)
    if not sizes:
        return least
    share = max(share, TYPICAL / len(sizes))
    if share >= 1.0:
        return max(least, sizes[0])
    rest = sum(sizes)
    for capped, size in enumerate(sizes):
        most = share * rest / (1.0 - share * capped)
        if size <= most:
            return max(least, int(most))
        rest -= size
    raise AssertionError("most units are smaller than four times an equal share")


def kept(units: Sequence[str], share: float, before: Mapping[str, int] | None = None) -> list[bool]:
    """Which rows to learn: of each unit the newest ones, up to ``most_rows`` together with those that were learned before.

    A model that learns on is bounded in each round by itself, too: what came last moves it most, so fifty rows of a bot beside
    a dozen of people would turn it, though they are few among the thousand before.

    :param units: the unit of each row, oldest first.
    :param before: rows that the model has learned lately, by unit; None: it learns from nothing.
    """
    counts, learned = Counter(units), Counter(before or {})
    most = most_rows((learned + counts).values(), share)
    at_once = most if before is None else most_rows(counts.values(), share, AT_ONCE)
    keep, taken = [False] * len(units), Counter[str]()
    for index in range(len(units) - 1, -1, -1):
        unit = units[index]
        if taken[unit] < min(at_once, most - learned[unit]):
            keep[index] = True
            taken[unit] += 1
    return keep
