"""Empirical-likelihood interval and point for an off-policy value (Karampatziakis, Langford and Mineiro 2020).

Over all distributions Q of (w, r) with w in [min_weight, max_weight], r in the declared range and E_Q[w] = 1, the
interval collects the E_Q[w r] of those whose log-likelihood is within F(1, n-1)/2 of the best. The dual has two
non-negative unknowns and is concave, so that it is solved exactly by a few Newton steps over the rows. Unlike
Cressie-Read it needs the rows, not sums. This module must never return an unconverged end.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, inf, isinf
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.validation import DataError, FloatArray, fraction, value_range

MAX_STEPS = 200
TOLERANCE = 1e-13
NARROWEST = 1e-15
"""A bracket around a share that is narrower than this holds no other number."""
CHUNK_ROWS = 1 << 15


class _Problem(NamedTuple):
    """g_i = f_i + a_i u0 + b_i u1 with u >= 0; f_i = w_i |r_i - origin|, and (a_i, b_i) locates w_i between the bounds."""

    w: FloatArray
    r: FloatArray
    origin: float
    bounds: tuple[float, float]

    def pieces(self) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """(f, a, b) chunk by chunk, computed again in every pass so that ten million rows need no copies."""
        for start in range(0, len(self.w), CHUNK_ROWS):
            w, r = self.w[start : start + CHUNK_ROWS], self.r[start : start + CHUNK_ROWS]
            yield w * np.abs(r - self.origin), *_shares(w, *self.bounds)

    def at_one(self) -> FloatArray:
        """(a, b) of a row with weight 1."""
        low, high = _shares(np.ones(1), *self.bounds)
        return np.array([low[0], high[0]])


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
    _check_bounds(w, min_weight, max_weight)
    problems = [_Problem(w, r, origin, (min_weight, max_weight)) for origin in (low, high)]
    slack = 0.5 * float(stats.f.isf(fraction("alpha", alpha), 1, n - 1)) / n
    best = _best_log_likelihood(problems[0]) + slack
    below, above = (_least(problem, best) for problem in problems)
    if below is None or above is None:
        return missing("the likelihood equations did not converge; the Cressie-Read interval asks the same question")
    return Interval(max(low, low + below), min(high, high - above))


def _check_bounds(w: FloatArray, min_weight: float, max_weight: float) -> None:
    # Rounding may put the row that defines a bound just outside it; `_shares` moves it back.
    if float(w.max()) > max_weight * (1 + 1e-9) or float(w.min()) < min_weight - 1e-12:
        raise DataError(
            "a weight lies outside the declared bounds", fix="declare the possible weights, not only the weights seen"
        )


def _shares(w: FloatArray, min_weight: float, max_weight: float) -> tuple[FloatArray, FloatArray]:
    if isinf(max_weight):
        return np.ones_like(w), w - min_weight
    high = np.clip((w - min_weight) / (max_weight - min_weight), 0.0, 1.0)
    return 1.0 - high, high


def _best_multipliers(problem: _Problem) -> tuple[float, float]:
    """The u >= 0 with a1 u0 + b1 u1 = 1 that maximises sum log(a u0 + b u1): one number, by safeguarded Newton.

    Along the line u = ((1 - t) / a1, t / b1), t in [0, 1]; t = b1 is the unweighted log.
    """
    a1, b1 = problem.at_one()
    low, high, t = 0.0, 1.0, min(max(float(b1), 1e-9), 0.5)
    for _ in range(MAX_STEPS):
        gradient, curvature = 0.0, 0.0
        for _f, a, b in problem.pieces():
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                ratio = (b / b1 - a / a1) / (a / a1 * (1 - t) + b / b1 * t)
                gradient, curvature = gradient + float(ratio.sum()), curvature - float(ratio @ ratio)
        low, high = (t, high) if gradient > 0 else (low, t)
        step = t - gradient / curvature if curvature < 0 else t
        following = step if low < step < high else (low + high) / 2
        # A further step would gain less mean log-likelihood than rounding loses.
        settled = curvature < 0 and following == step and gradient * gradient < -curvature * 1e-22 * len(problem.w)
        t = following
        if settled or high - low < NARROWEST:
            break
    return (1 - t) / float(a1), t / float(b1)


def _best_log_likelihood(problem: _Problem) -> float:
    u0, u1 = _best_multipliers(problem)
    return sum(float(np.log(a * u0 + b * u1).sum()) for _f, a, b in problem.pieces()) / len(problem.w)


def _least(problem: _Problem, best: float) -> float | None:
    """max over u >= 0 of exp(mean log g(u) - best) - a1 u0 - b1 u1, which is the smallest E[f] by strong duality."""
    scale = sum(float(f.sum()) for f, _a, _b in problem.pieces()) / len(problem.w)
    if scale <= 0:
        return 0.0
    at_one = problem.at_one()
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
            # No step improves the value beyond rounding. Accept it only when the slope is at rounding level too.
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
    try:
        move[index] = np.linalg.solve(block, slope[index])
    except np.linalg.LinAlgError:  # rows that are all alike: of the steps that solve it, the shortest is as good as any
        move[index] = np.linalg.lstsq(block, slope[index], rcond=None)[0]
    return move


def _line_search(
    problem: _Problem, best: float, now: tuple[FloatArray, float], move: FloatArray, at_one: FloatArray
) -> FloatArray | None:
    u, objective = now
    size = 1.0
    for _ in range(60):
        trial = np.maximum(u + size * move, 0.0)
        reached = _geometric_mean(problem, best, trial)
        # 0 means that a row's factor vanished: the corner lies outside unless every row has f > 0.
        if reached > 0 and reached - float(at_one @ trial) > objective:
            return trial
        size /= 2
    return None


def _geometric_mean(problem: _Problem, best: float, u: FloatArray) -> float:
    with np.errstate(divide="ignore"):
        logs = sum(float(np.log(f + a * u[0] + b * u[1]).sum()) for f, a, b in problem.pieces())
    return exp(logs / len(problem.w) - best)


def _dual(problem: _Problem, best: float, u: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """The geometric-mean term with gradient (2,) and Hessian (2, 2), in chunks so that temporaries stay small."""
    n = len(problem.w)
    logs, first, second = 0.0, np.zeros(2), np.zeros((2, 2))
    for f, a, b in problem.pieces():
        g = f + a * u[0] + b * u[1]
        pair = np.stack([a, b]) / g
        logs += float(np.log(g).sum())
        first += pair.sum(axis=1)
        second += pair @ pair.T
    value = exp(logs / n - best)
    gradient = first / n
    return value, value * gradient, value * (np.multiply.outer(gradient, gradient) - second / n)
