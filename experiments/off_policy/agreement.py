"""Whether the intervals of several estimators of the same value agree.

Estimators make different mistakes: wrong weights mislead IPS, a wrong reward model misleads the direct method. When
their intervals share a value, they do not contradict each other; otherwise an assumption is broken. This module must
never be given intervals around a shrunk value: they estimate another number.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Agreement(NamedTuple):
    """What the intervals of several estimators have in common."""

    agree: bool | None
    """True when every interval contains the same value; None with fewer than two intervals."""
    low: float | None
    """Lower end of the range that all intervals share; None unless they agree."""
    high: float | None
    """Upper end of that range."""
    apart: tuple[str, str] | None
    """The two estimators whose intervals are farthest apart; None unless they disagree."""


def agreement(intervals: Mapping[str, tuple[float, float]]) -> Agreement:
    """Agreement of intervals (low, high) by estimator, all about the same value."""
    if len(intervals) < 2:
        return Agreement(None, None, None, None)
    highest_low = max(intervals, key=lambda name: intervals[name][0])
    lowest_high = min(intervals, key=lambda name: intervals[name][1])
    low, high = intervals[highest_low][0], intervals[lowest_high][1]
    if low <= high:
        return Agreement(True, low, high, None)
    return Agreement(False, None, None, (lowest_high, highest_low))
