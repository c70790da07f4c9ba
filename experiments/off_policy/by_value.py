"""What an action, or any way to choose, earns among the rows that share a value of a context field; on adaptive logs too.

Estimand: the mean reward per row of a target over the contexts of the given rows, had the target always chosen there.
Scores are doubly robust (Dudik, Langford and Li 2011; on adaptive logs Hadad et al. 2021); rows are summed within units.
Each stretch of time ("part") has one weight, from the logged distributions of the part before (Zhan, Ren, Athey and
Zhou 2021: "non-contextual StableVar"), so that parts with small probabilities do not rule the error. This module must
never weight rows of one part differently: weights that follow the context would change the estimand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.off_policy import unit_sums
from experiments.off_policy.adaptive import part_weights
from experiments.off_policy.unit_sums import kish
from experiments.results import Interval, missing
from experiments.validation import (
    BoolArray,
    DataError,
    FloatArray,
    IntArray,
    distributions,
    matrix,
    same_length,
    vector,
)

MIN_UNITS = 20.0
"""Effective units that the log shows with the target's choices; with fewer there is no figure."""
MIN_REWARDED = 20.0
"""Effective units among them with a reward, and with less than the best; with fewer there is no interval."""


class Log(NamedTuple):
    """n rows in time order with at most K actions each; an action is an index into the row's own list."""

    logged: FloatArray
    """(n, K) distributions that the actions were drawn from, 0 where there is no action."""
    predictions: FloatArray
    """(n, K) predicted rewards, from models that had not learned the row."""
    chosen: IntArray
    """(n,)"""
    reward: FloatArray
    """(n,)"""
    unit: IntArray
    """(n,) codes from 0."""
    part: IntArray
    """(n,) number of the row's stretch of time, never falling."""
    bounds: tuple[float, float]
    """Of a single reward."""


class Scores(NamedTuple):
    """A target's doubly robust scores on the rows of a log; those of the difference of two targets are their difference."""

    scores: FloatArray
    """(n,) sum_k target m_k + w (r - m), in the unit of the reward."""
    weights: FloatArray
    """(n,) w: the target's probability of the logged action over the logged one."""
    noise: FloatArray
    """(n,) sum_k target_k^2 / logged_k, the expected squared weight; infinite where the target's choice could not be logged."""


class Estimate(NamedTuple):
    """A value among some rows."""

    value: float | None
    """In the unit of the reward; None where the log cannot tell."""
    interval: Interval
    """Of a value for one look, Student's t over units; of a difference for every look, asymptotic in units."""
    units: float
    """Effective units that the log shows with the target's choices."""
    p_value: float | None = None
    """Of the hypothesis that the value is 0, for every look; only of differences."""


def checked(log: Log) -> Log:
    """The same log. Raises `DataError` for lengths that differ, values that are not finite, or a chosen action with chance 0."""
    distributions("the logged distribution", log.logged)
    matrix("predictions", log.predictions, log.logged.shape[1])
    vector("reward", log.reward)
    same_length(logged=log.logged, predictions=log.predictions, chosen=log.chosen, reward=log.reward, unit=log.unit)
    own = log.logged[np.arange(len(log.reward)), log.chosen]
    if (own <= 0).any():
        row = int(np.argmax(own <= 0))
        raise DataError("the chosen action had probability 0", fix="find out why the log holds it", row=row)
    if (np.diff(log.part) < 0).any():
        raise DataError("the parts are not in time order", fix="sort the rows by time")
    return log


def score(log: Log, target: FloatArray) -> Scores:
    """`Scores` of a target, (n, K) probabilities; or of one target minus another, whose entries sum to 0 in each row."""
    rows = np.arange(len(log.reward))
    wanted = target != 0
    ratio = np.divide(target, log.logged, out=np.zeros_like(target), where=wanted & (log.logged > 0))
    noise = (target * ratio).sum(axis=1)
    noise[(wanted & (log.logged <= 0)).any(axis=1)] = np.inf
    weights = ratio[rows, log.chosen]
    direct = (target * log.predictions).sum(axis=1)
    return Scores(direct + weights * (log.reward - log.predictions[rows, log.chosen]), weights, noise)


def value(log: Log, target: Scores, rows: BoolArray, alpha: float = 0.05) -> Estimate:
    """A target's value among the rows where `rows`, shape (n,), is true."""
    weights = part_weights(target.noise[rows], log.part[rows])
    refused, units = _support(log, target, rows, weights)
    sums = unit_sums.unit_sums(weights * target.scores[rows], weights, log.unit[rows])
    if units < MIN_UNITS or sums.value is None:
        return Estimate(None, missing(refused), units)
    if refused:
        return Estimate(sums.value, missing(refused), units)
    return Estimate(sums.value, unit_sums.one_look(sums, log.bounds, alpha), units)


def difference(log: Log, first: Scores, second: Scores, gap: Scores, rows: BoolArray, alpha: float = 0.05) -> Estimate:
    """The value of the first target minus that of the second among some rows; `gap` are the scores of their difference.

    Refused where one of the two is, and where both choose alike.
    """
    alike = bool((gap.noise[rows] == 0).all())
    if alike:
        return Estimate(None, missing("both choose alike"), 0.0)
    supports = [_support(log, side, rows, part_weights(side.noise[rows], log.part[rows])) for side in (first, second)]
    units = min(support[1] for support in supports)
    refused = next((support[0] for support in supports if support[0]), "")
    if refused:
        return Estimate(None, missing(refused), units)
    weights = part_weights(gap.noise[rows], log.part[rows])
    sums = unit_sums.unit_sums(weights * gap.scores[rows], weights, log.unit[rows])
    if sums.value is None:
        return Estimate(None, missing("no part of the log holds the choices of both"), units)
    interval = unit_sums.always_valid(sums, unit_sums.UNBOUNDED, alpha)
    return Estimate(sums.value, interval, units, unit_sums.always_valid_p(sums, alpha))


def _support(log: Log, target: Scores, rows: BoolArray, weights: FloatArray) -> tuple[str, float]:
    """Why the log cannot tell a target's value among some rows (empty: it can), and the effective units that it shows."""
    if not (weights > 0).any():
        return "it could not be chosen in these decisions", 0.0
    own = weights * np.abs(target.weights[rows])
    low, high = log.bounds
    unit, reward = log.unit[rows], log.reward[rows]
    size = kish(_sums(unit, own))
    if size < MIN_UNITS:
        return f"{size:.0f} effective units had it, {MIN_UNITS:.0f} wanted", size
    for gain, words in ((reward - low, "with a reward"), (high - reward, "with less than the best reward")):
        rewarded = kish(_sums(unit, own * gain))
        if rewarded < MIN_REWARDED:
            return f"{rewarded:.0f} effective units {words}, {MIN_REWARDED:.0f} wanted", size
    return "", size


def _sums(unit: IntArray, rows: FloatArray) -> FloatArray:
    return np.bincount(unit, weights=rows).astype(np.float64)
