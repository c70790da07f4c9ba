"""What becomes of an effect as it gets old: novelty, wear-out, growth, or a shift between cohorts.

Three changes are looked at, each of them a difference of arms that were assigned at random:

- *first*: per unit, the mean of its later steps minus its first step. Both are the same unit's, so cohorts cannot differ in it.
- *further*: per unit, the later half of those later steps minus the earlier half: does the effect go on changing?
- *cohorts*: the effect in the first step of units that came later, minus that of units that came earlier.

A trend of the calendar (a season, a change of the product) moves the first and the third alike and is no novelty. Intervals
must hold for all three together; whatever they do not show is not called by a name. This module must never change an effect.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from experiments.results import Interval, missing

Verdict = Literal["novelty", "wear_out", "growth", "cohorts", "calendar", "steady", "unknown"]
CHANGES = 3
"""How many changes are judged together: the intervals of one arm hold for all of them."""


class Ageing(NamedTuple):
    """How an effect changes, each as an interval that holds for all three together, in the unit of the effect."""

    first: Interval
    """Later steps minus the first step."""
    further: Interval
    """The later half of the later steps minus the earlier half."""
    cohorts: Interval
    """Units that came later minus units that came earlier, in their first step."""


def judge(ageing: Ageing, *, better: Literal[1, -1] = 1) -> Verdict:
    """Name what is shown.

    :param better: 1 where a larger effect is better, -1 where a smaller one is.
    """
    first, further, cohorts = (_sign(change) * better for change in ageing)
    if ageing.first.low is None:
        return "unknown" if not cohorts else "cohorts"
    if first and cohorts == first:
        return "calendar"  # both follow from a trend of the calendar, and nothing tells them apart
    if further < 0:
        return "wear_out"
    if first < 0:
        return "novelty"
    if first > 0 or further > 0:
        return "growth"
    return "cohorts" if cohorts else "steady"


def rules_calendar_out(ageing: Ageing) -> bool:
    """Whether cohorts show that the calendar cannot be the reason of a change from the first step.

    A trend of the calendar would move the effect on later cohorts the same way. It is ruled out where the interval of the
    cohorts leaves out even the smallest change that the interval of the first steps allows.
    """
    sign = _sign(ageing.first)
    if not sign or ageing.cohorts.low is None or ageing.cohorts.high is None:
        return False
    if sign < 0:
        return ageing.first.high is not None and ageing.cohorts.low > ageing.first.high
    return ageing.first.low is not None and ageing.cohorts.high < ageing.first.low


def apart(later: Interval, earlier: Interval) -> Interval:
    """The difference of two effects, each in its interval: it lies here whenever both intervals hold."""
    if later.low is None or later.high is None or earlier.low is None or earlier.high is None:
        return missing(later.reason or earlier.reason or "an effect has no interval")
    return Interval(later.low - earlier.high, later.high - earlier.low)


def _sign(interval: Interval) -> int:
    if interval.low is None or interval.high is None:
        return 0
    return 1 if interval.low > 0 else -1 if interval.high < 0 else 0
