"""The always-valid interval of an off-policy value: one mixture of bets, valid at every look, under drift too.

Each row has the term y = w (r - c) + c, whose mean given the past is the value V of the target policy, because true
weights have mean 1. The coefficient c is the self-normalised mean of EARLIER rows, made smaller where the largest
weight that the row could have had would make y too negative. For a stake s and a prediction h of y,

    prod (1 + s (y - h)) exp(s (h - V_t))

is a non-negative supermartingale whatever the sequence of values V_t, because 1 + x <= exp(x) (a log-optimal form of
the empirical Bernstein bets of Howard, Ramdas, McAuliffe and Sekhon 2021; the terms follow Waudby-Smith, Wu, Ramdas,
Karampatziakis and Mineiro 2022). Its average over fixed stakes bounds the average of V_1..V_t from below, by Ville's
inequality. Reflected rewards bound it from above. This module must never use a row, or its weight, to choose c or h.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
from scipy import optimize

from experiments.results import Interval, missing
from experiments.validation import FloatArray, fraction, refuse_first, value_range

STAKES: FloatArray = 2.0 ** np.arange(-13.0, 3.0)
"""Stakes per reward range, shape (16,). A stake near sqrt(2 ln(2 / alpha) / (n var(y))) is the best at n rows."""
CENTRE, SPREAD, LEAST = 0.06, 1.5, 0.02
"""The prior of stakes: a normal bell of ln(stake), and a floor. It fits var(y) near 1 at some thousand rows."""
RUIN = 0.75
"""The largest share of the capital that one row may lose."""
CHUNK_ROWS = 1 << 14


def _log_prior() -> FloatArray:
    bell = np.exp(-0.5 * (np.log(STAKES / CENTRE) / SPREAD) ** 2) + LEAST
    return np.asarray(np.log(bell / bell.sum()))


LOG_PRIOR = _log_prior()


class ValueState(NamedTuple):
    """State of the sequence after some rows: fixed size. Chunks must follow each other in time."""

    rows: int
    """Rows so far."""
    weight: float
    """Sum of w."""
    weighted: float
    """Sum of w times the reward, scaled to [0, 1]."""
    low: FloatArray
    """By stake, shape (16,): log of the bet against values below, without its term -s (sum of V)."""
    high: FloatArray
    """The same for reflected rewards."""


START = ValueState(0, 0.0, 0.0, np.zeros(len(STAKES)), np.zeros(len(STAKES)))


def advance(
    state: ValueState, w: FloatArray, r: FloatArray, possible: FloatArray, reward_range: tuple[float, float]
) -> ValueState:
    """The state after the next rows, arrays of shape (rows,) in time order.

    `possible` is the largest weight that any action of the row could have had, infinite where it is unknown. It must be
    known before the action is drawn. Raises `DataError` for a weight above it.
    """
    low, high = value_range(*reward_range)
    refuse_first(
        w > possible * (1 + 1e-9),
        w,
        "the importance weight is {value}",
        "it exceeds the largest that the row could have",
    )
    for start in range(0, len(w), CHUNK_ROWS):
        cut = slice(start, start + CHUNK_ROWS)
        state = _advance_chunk(state, w[cut], (r[cut] - low) / (high - low), possible[cut])
    return state


def _advance_chunk(state: ValueState, w: FloatArray, x: FloatArray, possible: FloatArray) -> ValueState:
    weights = state.weight + np.cumsum(w)
    weighted = state.weighted + np.cumsum(w * x)
    mean = (np.concatenate(([state.weighted], weighted[:-1])) + 0.5) / (
        np.concatenate(([state.weight], weights[:-1])) + 1.0
    )
    room = np.maximum(possible - 1.0, 1e-12)
    return ValueState(
        state.rows + len(w),
        float(weights[-1]),
        float(weighted[-1]),
        state.low + _log_bets(w, x, mean, room),
        state.high + _log_bets(w, 1.0 - x, 1.0 - mean, room),
    )


def _log_bets(w: FloatArray, x: FloatArray, mean: FloatArray, room: FloatArray) -> FloatArray:
    """By stake s, the sum over rows of ln(1 + s (y - h)) + s h. The smallest possible y is c (1 - largest weight)."""
    out = np.empty(len(STAKES))
    for index, stake in enumerate(STAKES):
        most = RUIN / stake
        predicted = np.minimum(mean, most)
        centre = np.minimum(mean, (most - predicted) / room)
        out[index] = np.log1p(stake * (w * (x - centre) + centre - predicted)).sum() + stake * predicted.sum()
    return out


def interval(state: ValueState, reward_range: tuple[float, float], alpha: float = 0.05) -> Interval:
    """Interval of the average of V over the rows so far, unit of the reward; alpha/2 on each side.

    Valid at every look together, for independent rows and for logs of adaptive policies, when propensities are true,
    rewards lie in their range, and each row's largest possible weight is right. No other bound is assumed.
    """
    low, high = value_range(*reward_range)
    if state.rows == 0:
        return missing("no rows yet")
    threshold = log(2 / fraction("alpha", alpha))
    below = _least_mean(state.low, state.rows, threshold)
    above = 1 - _least_mean(state.high, state.rows, threshold)
    if below > above:
        return missing("the two sides contradict each other: propensities, weights or rewards break their assumptions")
    return Interval(low + below * (high - low), low + above * (high - low))


def excludes(state: ValueState, value: float, reward_range: tuple[float, float], alpha: float = 0.05) -> bool:
    """Whether the interval at this look leaves `value` out, without solving for its ends."""
    low, high = value_range(*reward_range)
    mean, threshold = (value - low) / (high - low), log(2 / fraction("alpha", alpha))
    sides = _log_capital(state.low, state.rows, mean), _log_capital(state.high, state.rows, 1 - mean)
    return max(sides) >= threshold


def _log_capital(bets: FloatArray, rows: int, mean: float) -> float:
    return float(np.logaddexp.reduce(LOG_PRIOR + bets - STAKES * (rows * mean)))


def _least_mean(bets: FloatArray, rows: int, threshold: float) -> float:
    """The mean in [0, 1] at which the capital equals the threshold; capital falls with the mean."""
    if _log_capital(bets, rows, 0.0) <= threshold:
        return 0.0
    if _log_capital(bets, rows, 1.0) >= threshold:
        return 1.0
    return float(optimize.brentq(lambda mean: _log_capital(bets, rows, mean) - threshold, 0.0, 1.0, xtol=1e-14))
