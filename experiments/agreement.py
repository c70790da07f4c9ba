"""Whether several estimators of one value tell the same story.

Estimators make different mistakes: weights that are off mislead IPS, a wrong reward model misleads the direct method. When
their intervals have a value in common, none of them contradicts another; when not, something that they rest on is broken.
This module must never be given intervals around a shrunk value: those are about another number.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Agreement(NamedTuple):
    """What the intervals of several estimators have in common."""

    agree: bool | None
    """True when one value lies in every interval; None with fewer than two intervals."""
    low: float | None
    """The values that lie in all of them begin here; None unless they agree."""
    high: float | None
    """And end here."""
    apart: tuple[str, str] | None
    """The two estimators whose intervals are farthest apart; None unless they disagree."""


def agreement(intervals: Mapping[str, tuple[float, float]]) -> Agreement:
    """Intervals by estimator, (low, high) each, all about the same value."""
    if len(intervals) < 2:
        return Agreement(None, None, None, None)
    highest_low = max(intervals, key=lambda name: intervals[name][0])
    lowest_high = min(intervals, key=lambda name: intervals[name][1])
    low, high = intervals[highest_low][0], intervals[lowest_high][1]
    if low <= high:
        return Agreement(True, low, high, None)
    return Agreement(False, None, None, (lowest_high, highest_low))
