"""Do explicit answers and implicit rewards tell the same story, and who answers at all?

Three descriptions of one log of decisions, each with an interval for ONE look that takes units, not decisions, as the
independent observations (several decisions of one unit count as one piece of evidence):

- the share of decisions that were answered,
- the rank correlation of the two signals on decisions that have both,
- the mean implicit reward of decisions that were answered, minus that of those that were not: response bias.

All describe this log. None is causal: answering was not assigned at random, and units choose what they answer. This module
must never be used to compare arms, nor to correct a mean for who answered.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.validation import ArrayLike, FloatArray, IntArray, codes, fraction, same_length, vector

MIN_UNITS: Final = 20
"""Fewer units than these give no interval: neither the normal limit nor a bootstrap can be trusted with them."""
REPLICATES: Final = 500


class AnswerRate(NamedTuple):
    """How many decisions were answered."""

    decisions: int
    units: int
    answered: int
    rate: float
    interval: Interval


class RankAgreement(NamedTuple):
    """How the two signals rank the decisions that have both."""

    decisions: int
    units: int
    correlation: float | None
    """Spearman's rho, -1 to 1; None where one of the signals never varies."""
    interval: Interval


class ResponseBias(NamedTuple):
    """How those who answer differ in what they did."""

    answered: int
    silent: int
    mean_answered: float | None
    mean_silent: float | None
    difference: float | None
    """Answered minus silent; None where one of them is empty."""
    interval: Interval


def answer_rate(answered: ArrayLike, unit: ArrayLike, alpha: float = 0.05) -> AnswerRate:
    """The share of decisions that were answered, with Wilson's interval at the effective sample size.

    The variance of the ratio (answers over decisions) is linearised and summed by unit; the effective size is that of a
    simple sample with the same variance (Korn and Graubard 1998), never more than the decisions. Where nobody or
    everybody answered, the effective size is the number of units. Assumes that units are independent.

    :param answered: 0 or 1 by decision.
    :param unit: codes from 0 by decision.
    """
    said, who, units = _prepared(unit, answered=answered)
    n, rate = len(said), float(said.mean())
    if units < MIN_UNITS:
        return AnswerRate(n, units, int(said.sum()), rate, _too_few(units))
    sums = np.bincount(who, weights=said - rate, minlength=units)
    variance = units / (units - 1) * float(sums @ sums) / n**2
    spread = rate * (1 - rate)
    size = min(float(n), spread / variance) if variance > 0 and spread > 0 else float(units)
    z = float(stats.t.isf(fraction("alpha", alpha) / 2, units - 1))
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * sqrt(spread / size + z * z / (4 * size * size))
    return AnswerRate(n, units, int(said.sum()), rate, Interval(max(0.0, middle - half), min(1.0, middle + half)))


def rank_agreement(
    implicit: ArrayLike,
    explicit: ArrayLike,
    unit: ArrayLike,
    *,
    seed: int,
    alpha: float = 0.05,
    replicates: int = REPLICATES,
) -> RankAgreement:
    """Spearman's rank correlation of two signals on the same decisions, ties sharing their mean rank.

    Estimand: the correlation of the mid-ranks over decisions like these, hence of units that answer. Interval: percentile
    bootstrap that draws whole units (Davison and Hinkley 1997, section 3.8).

    :param seed: of the bootstrap; the same seed and data give the same interval.
    """
    x, who, units = _prepared(unit, implicit=implicit)
    y = vector("explicit", explicit)
    same_length(implicit=x, explicit=y)
    ranks = _Ranks(x, y)
    found = ranks.correlation(np.ones(len(x)))
    if found is None:
        return RankAgreement(len(x), units, None, missing("one of the two signals never varies"))
    if units < MIN_UNITS:
        return RankAgreement(len(x), units, found, _too_few(units))
    generator = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(replicates):
        times = np.bincount(generator.integers(units, size=units), minlength=units).astype(np.float64)
        again = ranks.correlation(times[who])
        drawn += [] if again is None else [again]
    if len(drawn) < 0.95 * replicates:
        return RankAgreement(len(x), units, found, missing("one of the two signals hardly varies"))
    low, high = np.quantile(drawn, [fraction("alpha", alpha) / 2, 1 - alpha / 2])
    return RankAgreement(len(x), units, found, Interval(float(low), float(high)))


def response_bias(reward: ArrayLike, answered: ArrayLike, unit: ArrayLike, alpha: float = 0.05) -> ResponseBias:
    """The mean implicit reward of answered decisions minus that of the others.

    Both means are ratios whose influence values are summed by unit, so that a unit that sometimes answers counts on both
    sides with its covariance; t interval with the degrees of freedom of the side with fewer units (conservative).

    :param reward: the implicit one, without what the answers contribute.
    """
    y, who, units = _prepared(unit, reward=reward)
    said = vector("answered", answered) > 0
    same_length(reward=y, answered=said.astype(np.float64))
    sides = (int(said.sum()), int((~said).sum()))
    if not all(sides):
        none = missing("everybody answered" if sides[0] else "nobody answered")
        means = [float(y.mean()) if count else None for count in sides]
        return ResponseBias(*sides, means[0], means[1], None, none)
    first, second = float(y[said].mean()), float(y[~said].mean())
    fewest = min(len(np.unique(who[said])), len(np.unique(who[~said])))
    if fewest < MIN_UNITS:
        return ResponseBias(*sides, first, second, first - second, _too_few(fewest))
    influence = np.where(said, (y - first) / sides[0], -(y - second) / sides[1])
    sums = np.bincount(who, weights=influence, minlength=units)
    half = float(stats.t.isf(fraction("alpha", alpha) / 2, fewest - 1)) * sqrt(units / (units - 1) * float(sums @ sums))
    return ResponseBias(*sides, first, second, first - second, Interval(first - second - half, first - second + half))


class _Ranks:
    """Mid-ranks of two signals under any weights, without sorting again."""

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self._codes = [np.unique(values, return_inverse=True)[1].astype(np.int64) for values in (x, y)]

    def correlation(self, weights: FloatArray) -> float | None:
        """Of the weighted mid-ranks; None when one of them never varies."""
        total = float(weights.sum())
        centred = []
        for code in self._codes:
            mass = np.bincount(code, weights=weights)
            rank = (np.cumsum(mass) - mass / 2)[code]
            centred.append(rank - float(weights @ rank) / total)
        x, y = centred
        squares = [float(weights @ (one * one)) for one in (x, y)]
        if min(squares) <= 1e-9 * total:
            return None
        return max(-1.0, min(1.0, float(weights @ (x * y)) / sqrt(squares[0] * squares[1])))


def _prepared(unit: ArrayLike, **values: ArrayLike) -> tuple[FloatArray, IntArray, int]:
    ((name, given),) = values.items()
    array, raw = vector(name, given), codes("unit", unit, upper=2**53)
    same_length(values=array, unit=raw)
    who = np.unique(raw, return_inverse=True)[1].astype(np.int64)
    return array, who, int(who.max()) + 1


def _too_few(units: int) -> Interval:
    return missing(f"only {units} units; an interval needs {MIN_UNITS}")
