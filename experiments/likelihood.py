"""Empirical-likelihood interval and point for an off-policy value (Karampatziakis, Langford and Mineiro 2020).

Over all distributions Q of (w, r) with w in [min_weight, max_weight], r in the declared range and E_Q[w] = 1, the
interval collects the E_Q[w r] of those whose log-likelihood is within F(1, n-1)/2 of the best. The dual has two
non-negative unknowns and is concave, so that it is solved exactly by a few Newton steps over the rows. Unlike
Cressie-Read it needs the rows, not sums. This module must never return an unconverged end.
"""

from __future__ import annotations

from math import exp, inf, isinf
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.validation import DataError, FloatArray, fraction, value_range

MAX_STEPS = 200
TOLERANCE = 1e-13
CHUNK_ROWS = 1 << 16


class _Problem(NamedTuple):
    """g_i = f_i + a_i u0 + b_i u1 with u >= 0, where (a_i, b_i) places w_i between the two weight bounds."""

    f: FloatArray
    low_share: FloatArray
    high_share: FloatArray
    low_at_one: float
    high_at_one: float


def empirical_likelihood(
    w: FloatArray,
    r: FloatArray,
    reward_range: tuple[float, float],
    max_weight: float = inf,
    alpha: float = 0.05,
    *,
    min_weight: float = 0.0,
) -> Interval:
    """Interval for V from rows w, r of shape (n,). `max_weight` is the KNOWN largest possible weight.

    Asymptotically valid at one n for independent rows; tighter than the normal interval of IPS when rewards are not
    rare, because it uses E[w] = 1. Raises `DataError` for weights outside their bounds.
    """
    low, high = value_range(*reward_range)
    n = len(w)
    if n < 3:
        return missing("empirical likelihood needs at least three rows")
    shares = _shares(w, min_weight, max_weight)
    best = _best_log_likelihood(*shares)
    slack = 0.5 * float(stats.f.isf(fraction("alpha", alpha), 1, n - 1)) / n
    below = _least(_Problem(w * (r - low), *shares), best + slack)
    above = _least(_Problem(w * (high - r), *shares), best + slack)
    if below is None or above is None:
        return missing("the likelihood equations did not converge; the Cressie-Read interval asks the same question")
    return Interval(max(low, low + below), min(high, high - above))


def likelihood_point(w: FloatArray, r: FloatArray, max_weight: float = inf, *, min_weight: float = 0.0) -> float:
    """Maximum-likelihood value: E[w] = 1 imposed on the log, unseen mass earning the mean logged reward."""
    low_share, high_share, low_one, high_one = _shares(w, min_weight, max_weight)
    u0, u1 = _best_multipliers(low_share, high_share, low_one, high_one)
    mass = 1.0 / (len(w) * (low_share * u0 + high_share * u1))
    return float(np.sum(mass * w * r)) + max(0.0, 1.0 - float(np.sum(mass * w))) * float(np.mean(r))


def _shares(w: FloatArray, min_weight: float, max_weight: float) -> tuple[FloatArray, FloatArray, float, float]:
    # Rounding may put the row that defines a bound one unit outside it; clipping moves it back, checked beforehand.
    if float(w.max()) > max_weight * (1 + 1e-9) or float(w.min()) < min_weight - 1e-12:
        raise DataError(
            "a weight lies outside the declared bounds", fix="declare the POSSIBLE weights, not the seen ones"
        )
    if isinf(max_weight):
        return np.ones_like(w), w - min_weight, 1.0, 1.0 - min_weight
    span = max_weight - min_weight
    high = np.clip((w - min_weight) / span, 0.0, 1.0)
    return 1.0 - high, high, (max_weight - 1) / span, (1 - min_weight) / span


def _best_multipliers(a: FloatArray, b: FloatArray, a1: float, b1: float) -> tuple[float, float]:
    """The u >= 0 with a1 u0 + b1 u1 = 1 that maximises sum log(a u0 + b u1): one number, by safeguarded Newton.

    Along the line u = ((1 - t) / a1, t / b1), t in [0, 1]; t = b1 is the unweighted log.
    """
    start, slope = a / a1, b / b1 - a / a1
    low, high, t = 0.0, 1.0, min(max(b1, 1e-9), 0.5)
    for _ in range(MAX_STEPS):
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            ratio = slope / (start + slope * t)
            gradient, curvature = float(ratio.sum()), -float(ratio @ ratio)
        low, high = (t, high) if gradient > 0 else (low, t)
        step = t - gradient / curvature if curvature < 0 else t
        following = step if low < step < high else (low + high) / 2
        if abs(following - t) <= 1e-15 * max(1.0, abs(t)) or high - low < 1e-16:
            break
        t = following
    return (1 - t) / a1, t / b1


def _best_log_likelihood(a: FloatArray, b: FloatArray, a1: float, b1: float) -> float:
    u0, u1 = _best_multipliers(a, b, a1, b1)
    return float(np.mean(np.log(a * u0 + b * u1)))


def _least(problem: _Problem, best: float) -> float | None:
    """max over u >= 0 of exp(mean log g(u) - best) - a1 u0 - b1 u1, which is the smallest E[f] by strong duality."""
    scale = float(problem.f.mean())
    if scale <= 0:
        return 0.0
    at_one = np.array([problem.low_at_one, problem.high_at_one])
    u = np.full(2, scale)
    value, gradient, hessian = _dual(problem, best, u)
    for _ in range(MAX_STEPS):
        free = (u > 0) | (gradient > at_one)
        slope = np.where(free, gradient - at_one, 0.0)
        move = _newton_step(hessian, slope, free)
        if abs(float(slope @ move)) <= TOLERANCE * scale:
            return max(0.0, value - float(at_one @ u))
        accepted = _line_search(problem, best, (u, value - float(at_one @ u)), move, at_one)
        if accepted is None:
            # No step improves any more: rounding is reached. Accept only when the slope is at rounding level too.
            return max(0.0, value - float(at_one @ u)) if abs(float(slope @ move)) <= 1e-9 * scale else None
        u = accepted
        value, gradient, hessian = _dual(problem, best, u)
    return None


def _newton_step(hessian: FloatArray, slope: FloatArray, free: np.ndarray) -> FloatArray:
    move = np.zeros(2)
    index = np.flatnonzero(free)
    if len(index) == 0:
        return move
    block = -hessian[np.ix_(index, index)]
    # A tiny ridge keeps the step an ascent direction where the surface is flat along rays.
    block = block + np.eye(len(index)) * (1e-14 * max(float(np.trace(block)), 1e-300))
    move[index] = np.linalg.solve(block, slope[index])
    return move


def _line_search(
    problem: _Problem, best: float, now: tuple[FloatArray, float], move: FloatArray, at_one: FloatArray
) -> FloatArray | None:
    u, objective = now
    size = 1.0
    for _ in range(60):
        trial = np.maximum(u + size * move, 0.0)
        reached = _geometric_mean(problem, best, trial)
        # 0 means that a row's factor vanished: the corner is outside unless every row has f > 0.
        if reached > 0 and reached - float(at_one @ trial) > objective:
            return trial
        size /= 2
    return None


def _geometric_mean(problem: _Problem, best: float, u: FloatArray) -> float:
    with np.errstate(divide="ignore"):
        logs = np.log(problem.f + problem.low_share * u[0] + problem.high_share * u[1])
    return exp(float(logs.mean()) - best)


def _dual(problem: _Problem, best: float, u: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """The geometric-mean term with gradient (2,) and Hessian (2, 2), in chunks so that temporaries stay small."""
    n = len(problem.f)
    logs, first, second = 0.0, np.zeros(2), np.zeros((2, 2))
    for start in range(0, n, CHUNK_ROWS):
        cut = slice(start, start + CHUNK_ROWS)
        a, b = problem.low_share[cut], problem.high_share[cut]
        g = problem.f[cut] + a * u[0] + b * u[1]
        pair = np.stack([a, b]) / g
        logs += float(np.log(g).sum())
        first += pair.sum(axis=1)
        second += pair @ pair.T
    value = exp(logs / n - best)
    gradient = first / n
    return value, value * gradient, value * (np.multiply.outer(gradient, gradient) - second / n)
