"""Do explicit answers and implicit rewards agree, and which decisions are answered?

Three descriptions of a log of decisions. Each has an interval for a single look, with units rather than decisions as
the independent observations:

- the share of decisions with an answer,
- the rank correlation of the two signals on decisions that have both,
- the mean implicit reward of decisions with an answer minus that of decisions without: response bias.

They describe this log and are not causal: nobody assigned answers at random, and units choose what they answer. This
module must never be used to compare arms, or to correct a mean for response bias.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.validation import ArrayLike, FloatArray, IntArray, codes, fraction, same_length, vector

MIN_UNITS: Final = 20
"""Fewer units give no interval: neither the normal limit nor a bootstrap can be trusted."""
REPLICATES: Final = 500


class AnswerRate(NamedTuple):
    """How many decisions were answered."""

    decisions: int
    units: int
    answered: int
    rate: float
    interval: Interval


class RankAgreement(NamedTuple):
    """How far the two signals rank decisions alike."""

    decisions: int
    units: int
    correlation: float | None
    """Spearman's rho, -1 to 1; None where one of the signals never varies."""
    interval: Interval


class ResponseBias(NamedTuple):
    """How implicit rewards differ between decisions with and without an answer."""

    answered: int
    silent: int
    mean_answered: float | None
    mean_silent: float | None
    difference: float | None
    """Answered minus silent; None where either is empty."""
    interval: Interval


def answer_rate(answered: ArrayLike, unit: ArrayLike, alpha: float = 0.05) -> AnswerRate:
    """The share of decisions that were answered, with Wilson's interval at the effective sample size.

    The variance of the ratio (answers over decisions) is linearised and summed by unit; the effective size is that of a
    simple sample with the same variance (Korn and Graubard 1998), never more than the decisions. Where no or every
    decision was answered, the effective size is the number of units. Assumes that units are independent.

    :param answered: 0 or 1 by decision.
    :param unit: codes from 0 by decision.
    """
    flags, unit_codes, units = _prepared(unit, answered=answered)
    n, rate = len(flags), float(flags.mean())
    if units < MIN_UNITS:
        return AnswerRate(n, units, int(flags.sum()), rate, _too_few(units))
    sums = np.bincount(unit_codes, weights=flags - rate, minlength=units)
    variance = units / (units - 1) * float(sums @ sums) / n**2
    spread = rate * (1 - rate)
    size = min(float(n), spread / variance) if variance > 0 and spread > 0 else float(units)
    z = float(stats.t.isf(fraction("alpha", alpha) / 2, units - 1))
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * sqrt(spread / size + z * z / (4 * size * size))
    return AnswerRate(n, units, int(flags.sum()), rate, Interval(max(0.0, middle - half), min(1.0, middle + half)))


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

    Estimand: the correlation of the mid-ranks over decisions like these, hence of units that answer. Interval:
    percentile bootstrap that draws whole units (Davison and Hinkley 1997, section 3.8).

    :param seed: of the bootstrap; the same seed and data give the same interval.
    """
    x, unit_codes, units = _prepared(unit, implicit=implicit)
    y = vector("explicit", explicit)
    same_length(implicit=x, explicit=y)
    ranks = _Ranks(x, y)
    correlation = ranks.correlation(np.ones(len(x)))
    if correlation is None:
        return RankAgreement(len(x), units, None, missing("one of the two signals never varies"))
    if units < MIN_UNITS:
        return RankAgreement(len(x), units, correlation, _too_few(units))
    generator = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(replicates):
        times = np.bincount(generator.integers(units, size=units), minlength=units).astype(np.float64)
        resampled = ranks.correlation(times[unit_codes])
        drawn += [] if resampled is None else [resampled]
    if len(drawn) < 0.95 * replicates:
        return RankAgreement(len(x), units, correlation, missing("one of the two signals hardly varies"))
    low, high = np.quantile(drawn, [fraction("alpha", alpha) / 2, 1 - alpha / 2])
    return RankAgreement(len(x), units, correlation, Interval(float(low), float(high)))


def response_bias(reward: ArrayLike, answered: ArrayLike, unit: ArrayLike, alpha: float = 0.05) -> ResponseBias:
    """The mean implicit reward of answered decisions minus that of the others.

    Both means are ratios whose influence values are summed by unit, so a unit that sometimes answers counts in both,
    with its covariance. The t interval takes the degrees of freedom of the group with fewer units, which is
    conservative.

    :param reward: implicit rewards, without the worth of answers.
    """
    y, unit_codes, units = _prepared(unit, reward=reward)
    is_answered = vector("answered", answered) > 0
    same_length(reward=y, answered=is_answered.astype(np.float64))
    sides = (int(is_answered.sum()), int((~is_answered).sum()))
    if not all(sides):
        no_interval = missing("every decision was answered" if sides[0] else "no decision was answered")
        means = [float(y.mean()) if count else None for count in sides]
        return ResponseBias(*sides, means[0], means[1], None, no_interval)
    first, second = float(y[is_answered].mean()), float(y[~is_answered].mean())
    fewest = min(len(np.unique(unit_codes[is_answered])), len(np.unique(unit_codes[~is_answered])))
    if fewest < MIN_UNITS:
        return ResponseBias(*sides, first, second, first - second, _too_few(fewest))
    influence = np.where(is_answered, (y - first) / sides[0], -(y - second) / sides[1])
    sums = np.bincount(unit_codes, weights=influence, minlength=units)
    half = float(stats.t.isf(fraction("alpha", alpha) / 2, fewest - 1)) * sqrt(units / (units - 1) * float(sums @ sums))
    return ResponseBias(*sides, first, second, first - second, Interval(first - second - half, first - second + half))


class _Ranks:
    """Mid-ranks of two signals under any weights, without sorting again."""

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self._codes = [np.unique(values, return_inverse=True)[1].astype(np.int64) for values in (x, y)]

    def correlation(self, weights: FloatArray) -> float | None:
        """Correlation of the weighted mid-ranks; None when a signal never varies."""
        total = float(weights.sum())
        centred = []
        for code in self._codes:
            mass = np.bincount(code, weights=weights)
            rank = (np.cumsum(mass) - mass / 2)[code]
            centred.append(rank - float(weights @ rank) / total)
        x, y = centred
        squares = [float(weights @ (centred_ranks * centred_ranks)) for centred_ranks in (x, y)]
        if min(squares) <= 1e-9 * total:
            return None
        return max(-1.0, min(1.0, float(weights @ (x * y)) / sqrt(squares[0] * squares[1])))


def _prepared(unit: ArrayLike, **values: ArrayLike) -> tuple[FloatArray, IntArray, int]:
    ((name, given),) = values.items()
    array, raw = vector(name, given), codes("unit", unit, upper=2**53)
    same_length(values=array, unit=raw)
    unit_codes = np.unique(raw, return_inverse=True)[1].astype(np.int64)
    return array, unit_codes, int(unit_codes.max()) + 1


def _too_few(units: int) -> Interval:
    return missing(f"only {units} units; an interval needs {MIN_UNITS}")
