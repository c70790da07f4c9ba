"""Whether an arm widens the gap between a group of people and everybody else, beyond the gap that the world has anyway.

A group may earn less under every policy. So the gap of an arm is compared with that of a reference arm, which is uniform
or the control: only the excess is the arm's. Units were assigned to arms at random, each is in one group, and all of a
unit's decisions are one observation. This module must never report a gap of one arm alone as the arm's doing.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from experiments.results import Interval, missing
from experiments.sequences import mixture_tau, mixture_test

MIN_UNITS = 100.0
"""Effective units in each of the four cells before the interval opens, which is asymptotic."""
MIN_EVENTS = 10.0
"""Effective number of units with a reward in each cell before it opens."""
TUNED_AT = 5000.0
"""Units of all cells at which the interval is narrowest."""


class Cell(NamedTuple):
    """Sums over the units of one arm in one group."""

    units: float
    decisions: float
    reward: float
    decisions_2: float
    """Sum over units of their decisions squared."""
    reward_2: float
    """Sum over units of their reward squared."""
    product: float
    """Sum over units of decisions times reward."""

    def plus(self, other: Cell) -> Cell:
        """The sums over the units of both."""
        return Cell(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def mean(self) -> float:
        """Reward per decision; 0 without decisions."""
        return self.reward / self.decisions if self.decisions else 0.0

    @property
    def variance(self) -> float:
        """Of the mean, by linearisation of the ratio; units are the observations (Deng et al. 2018)."""
        if self.units < 2:
            return 0.0
        mean = self.mean
        residual = self.reward_2 - 2 * mean * self.product + mean * mean * self.decisions_2
        return max(residual, 0.0) * self.units / (self.units - 1) / self.decisions**2

    @property
    def effective_units(self) -> float:
        """Kish's: (sum of decisions)^2 / sum of squared decisions."""
        return self.decisions**2 / self.decisions_2 if self.decisions_2 else 0.0

    @property
    def events(self) -> float:
        """(sum of rewards)^2 / sum of squared rewards: of rewards of 0 and 1 from one decision each, how many are 1."""
        return self.reward**2 / self.reward_2 if self.reward_2 else 0.0


NOTHING = Cell(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Gap(NamedTuple):
    """A group against everybody else, in an arm and in the reference arm."""

    gap: float
    """Reward per decision of the group minus that of the others, in the arm."""
    reference: float
    """The same in the reference arm: the world's gap."""
    excess: float
    """The gap minus the reference's."""
    interval: Interval
    """Of the excess, for every look."""
    p_value: float | None
    """Of "no excess", for every look; None with a reason in the interval."""


def excess_gap(
    arm: tuple[Cell, Cell], reference: tuple[Cell, Cell], *, alpha: float = 0.05, tuned_at: float = TUNED_AT
) -> Gap:
    """The excess of an arm's gap over the reference's; each pair is (the group, everybody else).

    The four means are independent, so their variances add up; the asymptotic sequence of `experiments.sequences` makes the
    interval hold at every look.
    """
    cells = (*arm, *reference)
    gap, world = arm[0].mean - arm[1].mean, reference[0].mean - reference[1].mean
    excess = gap - world
    reason = _closed(cells)
    if reason:
        return Gap(gap, world, excess, missing(reason), None)
    error = sqrt(sum(cell.variance for cell in cells))
    if error == 0.0:
        return Gap(gap, world, excess, missing("the rewards have no variance"), None)
    tau = mixture_tau(error, sum(cell.units for cell in cells), tuned_at, alpha)
    tested = mixture_test(excess, error, tau, alpha)
    return Gap(gap, world, excess, tested.interval, tested.p_value)


def _closed(cells: tuple[Cell, ...]) -> str:
    units, events = min(cell.effective_units for cell in cells), min(cell.events for cell in cells)
    if units < MIN_UNITS:
        return f"opens at {MIN_UNITS:.0f} effective users on each side in each arm, now {units:.1f}"
    if events < MIN_EVENTS:
        return f"opens at {MIN_EVENTS:.0f} effective rewards on each side in each arm, now {events:.1f}"
    return ""
