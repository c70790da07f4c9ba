"""Group-sequential bounds for a few planned looks: Lan and DeMets' alpha spending.

They need a planned maximum sample size; in return, final intervals are 20 to 30% shorter than confidence sequences. An
extra look is allowed, because spending depends only on information, unless the results so far prompted it. This module
must never be used on a dashboard that refreshes: that is what `experiments.sequences` is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf, isinf, sqrt
from typing import Literal, NamedTuple

import numpy as np
from scipy import integrate, optimize, stats

from experiments.results import Interval
from experiments.validation import DataError, FloatArray, fraction, positive

Spending = Literal["obrien_fleming", "power"]
GRID = 1201
SHORTEST_STEP = 1e-4
"""Two looks must be this far apart in information: the grid does not resolve less."""
FARTHEST = 9.0
"""Bounds beyond 9 standard deviations are treated as never crossed."""


class Bounds(NamedTuple):
    """Two-sided symmetric bounds at each look."""

    information: tuple[float, ...]
    """Fraction of the planned maximum information at each look, ascending, at most 1."""
    spent: tuple[float, ...]
    """Cumulative type-I error spent."""
    z: tuple[float, ...]
    """Reject when |z| reaches this; infinite where too little error was spent to ever reject."""
    nominal_p: tuple[float, ...]
    """Two-sided p-value that belongs to the bound."""


class Look(NamedTuple):
    """The decision at one look."""

    z: float
    """difference / standard error."""
    bound: float
    """Bound at this look."""
    reject: bool
    """True when |z| reaches the bound: stop, there is a difference."""
    interval: Interval
    """Repeated confidence interval (Jennison and Turnbull 1989), valid at every planned look together."""


def spent_alpha(information: float, alpha: float, spending: Spending, power: float = 2.0) -> float:
    """Cumulative two-sided spending at an information fraction: O'Brien-Fleming-like, or alpha t^power.

    Lan and DeMets' function 2 (1 - Phi(z_{a/2} / sqrt t)) is for one side at level a; both sides spend it at a =
    alpha/2, as published tables do.
    """
    t = min(information, 1.0)
    if spending == "obrien_fleming":
        return float(4 * stats.norm.sf(stats.norm.isf(alpha / 4) / sqrt(t)))
    return alpha * float(t ** positive("power", power))


def bounds(
    information: Sequence[float], alpha: float = 0.05, spending: Spending = "obrien_fleming", power: float = 2.0
) -> Bounds:
    """Lan and DeMets (1983) bounds by recursive integration (Armitage, McPherson and Rowe 1969).

    `information`: ascending fractions in (0, 1] of the planned maximum, one per look so far or planned. The density of
    the score on the continuation region is carried from look to look on a Simpson grid.
    """
    return _bounds(tuple(float(t) for t in information), fraction("alpha", alpha), spending, float(power))


@lru_cache(maxsize=256)
def _bounds(times: tuple[float, ...], alpha: float, spending: Spending, power: float) -> Bounds:
    steps = np.diff((0.0, *times))
    if not times or (steps < SHORTEST_STEP).any() or times[-1] > 1 + 1e-12:
        raise DataError(
            "information fractions do not ascend within (0, 1]", fix="pass ascending fractions of the planned maximum"
        )
    spent = [spent_alpha(t, alpha, spending, power) for t in times]
    z: list[float] = []
    grid, density = np.zeros(1), np.ones(1)
    for look, t in enumerate(times):
        new = spent[look] - (spent[look - 1] if look else 0.0)
        bound = _solve(grid, density, t, float(steps[look]), new)
        z.append(bound)
        grid, density = _carry(grid, density, t, float(steps[look]), min(bound, FARTHEST))
    nominal = tuple(0.0 if isinf(c) else float(2 * stats.norm.sf(c)) for c in z)
    return Bounds(times, tuple(spent), tuple(z), nominal)


def _crossing(grid: FloatArray, density: FloatArray, t: float, step: float, bound: float) -> float:
    """Probability that the score starts inside at the last look and lies outside +- bound sqrt(t) now."""
    edge, scale = bound * sqrt(t), sqrt(step)
    outside = stats.norm.sf((edge - grid) / scale) + stats.norm.cdf((-edge - grid) / scale)
    return float(outside[0]) if len(grid) == 1 else float(integrate.simpson(density * outside, x=grid))


def _solve(grid: FloatArray, density: FloatArray, t: float, step: float, new: float) -> float:
    def excess(bound: float) -> float:
        return _crossing(grid, density, t, step, bound) - new

    if excess(FARTHEST) >= 0:
        return inf
    return float(optimize.brentq(excess, 0.0, FARTHEST, xtol=1e-12))


def _carry(grid: FloatArray, density: FloatArray, t: float, step: float, bound: float) -> tuple[FloatArray, FloatArray]:
    edge = bound * sqrt(t)
    points = np.linspace(-edge, edge, GRID)
    moves = stats.norm.pdf((points[:, None] - grid[None, :]) / sqrt(step)) / sqrt(step)
    if len(grid) == 1:
        return points, np.asarray(moves[:, 0])
    return points, np.asarray(integrate.simpson(moves * density[None, :], x=grid, axis=1))


def look(
    difference: float,
    std_error: float,
    information: Sequence[float],
    *,
    alpha: float = 0.05,
    spending: Spending = "obrien_fleming",
    power: float = 2.0,
) -> Look:
    """The decision at the last of the looks taken so far, `information` listing all of them."""
    planned = bounds(information, alpha, spending, power)
    z = difference / positive("standard error", std_error)
    bound = planned.z[-1]
    half = bound * std_error
    if isinf(bound):
        return Look(z, bound, False, Interval(None, None, "too little error is spent at this look to bound anything"))
    return Look(z, bound, abs(z) >= bound, Interval(difference - half, difference + half))
