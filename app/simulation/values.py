"""Draws what decisions are worth: the stated means of arms, with the noise of each kind of metric."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.random import Generator

from app.simulation.course import Course
from app.simulation.people import Log
from app.simulation.world import Kind, MetricTruth
from experiments.validation import FloatArray


def _binary(mean: FloatArray, _: MetricTruth, random: Generator) -> FloatArray:
    return (random.random(len(mean)) < mean).astype(np.float64)


def _count(mean: FloatArray, _: MetricTruth, random: Generator) -> FloatArray:
    return random.poisson(mean).astype(np.float64)


def _normal(mean: FloatArray, metric: MetricTruth, random: Generator) -> FloatArray:
    return np.asarray(mean + metric.spread * random.standard_normal(len(mean)))


def _lognormal(mean: FloatArray, metric: MetricTruth, random: Generator) -> FloatArray:
    sigma = metric.spread
    return np.asarray(mean * np.exp(sigma * random.standard_normal(len(mean)) - sigma**2 / 2))


def _payers(mean: FloatArray, metric: MetricTruth, random: Generator) -> FloatArray:
    """A few pay a lognormal amount; the others pay nothing."""
    amounts = np.zeros(len(mean))
    pays = np.flatnonzero(random.random(len(mean)) < metric.payers)
    amounts[pays] = _lognormal(mean[pays] / metric.payers, metric, random)
    return amounts


_KINDS: Final[dict[Kind, Callable[[FloatArray, MetricTruth, Generator], FloatArray]]] = {
    "binary": _binary,
    "count": _count,
    "normal": _normal,
    "lognormal": _lognormal,
    "payers": _payers,
}


def draw_values(
    course: Course, metric: MetricTruth, log: Log, extra: FloatArray | None, random: Generator
) -> FloatArray:
    """What each decision is worth when it arrives: 0 where the value is lost or late.

    :param extra: what the chosen actions add to the mean.
    """
    values = draw_worth(course, metric, log, extra, random)
    kept = np.array([course.world.lost.kept(arm) for arm in course.arms])
    if kept.min() == 1:
        return values
    return np.where(random.random(len(values)) < kept[log.arm], values, 0.0)


def draw_worth(
    course: Course, metric: MetricTruth, log: Log, extra: FloatArray | None, random: Generator
) -> FloatArray:
    """What each decision is worth, whether it arrives or not."""
    effects = np.array([metric.effect(arm) for arm in course.arms])
    mean = metric.level * log.factor + effects[log.arm]
    if extra is not None:
        mean = mean + extra
    values = _KINDS[metric.kind](mean * log.mood, metric, random)
    return np.where(log.bot, course.world.bots.value, values) if course.world.bots.units else values
