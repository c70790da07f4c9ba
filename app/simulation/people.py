"""Draws who comes in one run: every decision with its unit, its time, its arm, and what the arms differ in.

Units are assigned as ``bandits.distribution.assign`` does it: each arm draws an exponential with its share as rate, and the
smallest wins. So a change of shares moves the same part of the units as in a real experiment.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from app.simulation.course import Course
from app.simulation.world import World
from experiments.validation import BoolArray, FloatArray, IntArray


class Log(NamedTuple):
    """The decisions of a run, in the order of units and, within a unit, of times."""

    unit: IntArray
    look: IntArray  # index of the first look that sees the decision
    arm: IntArray
    factor: FloatArray  # of every metric's level at the decision's time
    mood: FloatArray  # of its unit; mean 1
    bot: BoolArray
    homes: IntArray  # (stretches, units): the arm of every unit in every stretch
    single: bool  # every unit makes one decision

    def only(self, kept: BoolArray | IntArray) -> "Log":
        """Some of the decisions."""
        return Log(
            self.unit[kept],
            self.look[kept],
            self.arm[kept],
            self.factor[kept],
            self.mood[kept],
            self.bot[kept],
            self.homes,
            self.single,
        )


def draw_log(course: Course, random: Generator) -> Log:
    """Draw the decisions of a run, without those that get lost in an arm."""
    homes = _homes(course, random)
    log = draw_visits(course, random)
    log = log._replace(arm=homes[course.stretch_of_look[log.look], log.unit], homes=homes)
    chances = np.array([course.world.lost.exposures.get(arm, 0.0) for arm in course.arms])
    return log.only(random.random(len(log.unit)) >= chances[log.arm]) if chances.any() else log


def draw_visits(course: Course, random: Generator) -> Log:
    """Draw the decisions of a run before anybody is assigned: every arm is the first."""
    world = course.world
    bots = random.choice(world.units, min(world.bots.units, world.units), replace=False)
    unit, time = _visits(world, bots, random)
    stretch = np.searchsorted(course.begins, time, side="right") - 1
    moods = world.visits.moods
    mood = np.ones(len(unit)) if moods is None else 2 * random.beta(moods, moods, world.units)[unit]
    is_bot = np.zeros(world.units, dtype=np.bool_)
    is_bot[bots] = True
    return Log(
        unit,
        np.searchsorted(course.ends, time, side="right"),
        np.zeros(len(unit), dtype=np.int64),
        _factors(course, time, stretch),
        mood,
        is_bot[unit],
        np.zeros((1, 0), dtype=np.int64),
        len(unit) == world.units,
    )


def _homes(course: Course, random: Generator) -> IntArray:
    units = course.world.units
    table = np.array([[stretch.shares.get(arm, 0.0) for arm in course.arms] for stretch in course.stretches])
    if len(table) == 1:
        borders = np.cumsum(table[0])
        return np.searchsorted(borders / borders[-1], random.random(units), side="right")[None, :]
    draws = random.standard_exponential((units, len(course.arms)))
    with np.errstate(divide="ignore"):
        return np.stack([np.argmin(draws / shares, axis=1) for shares in table])


def _visits(world: World, bots: IntArray, random: Generator) -> tuple[IntArray, FloatArray]:
    """The unit and the time of every decision."""
    counts = _counts(world, random)
    counts[bots] = world.bots.decisions
    arrival = np.arange(world.units, dtype=np.float64)
    if int(counts.max()) == 1:
        return np.arange(world.units), arrival
    unit = np.repeat(np.arange(world.units), counts)
    time = arrival[unit]
    first = np.concatenate([[True], unit[1:] != unit[:-1]])
    later = ~first
    time[later] += random.random(int(later.sum())) * (world.units - time[later])
    order = np.lexsort((time, unit))
    return unit, time[order]  # the order only changes times within a unit


def _counts(world: World, random: Generator) -> IntArray:
    visits = world.visits
    if visits.kind == "poisson":
        return 1 + random.poisson(visits.mean - 1, world.units)
    if visits.kind == "pareto":
        tail = np.floor((1 - random.random(world.units)) ** (-1 / visits.shape))
        return np.minimum(tail, visits.most).astype(np.int64)
    return np.full(world.units, round(visits.mean), dtype=np.int64)


def _factors(course: Course, time: FloatArray, stretch: IntArray) -> FloatArray:
    specs = course.world.stretches
    begin = np.array([spec.factor for spec in specs])
    end = np.array([spec.factor if spec.factor_end is None else spec.factor_end for spec in specs])
    units = np.array([spec.units for spec in specs])
    inside = (time - course.begins[stretch]) / units[stretch]
    return np.asarray(begin[stretch] + (end - begin)[stretch] * inside)
