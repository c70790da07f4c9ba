"""Whether what is seen early tells what comes later: the correlation of a short-term with a long-term value over units.

The estimand is the correlation within arms, over units that were followed to the end. A high one says that units which do
well early do well later. It does not prove that an arm which moves the early value moves the later one: for that, compare
the arms on the later value. Units are independent. This module must never replace the long-term value by a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atanh, sqrt, tanh
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.validation import fraction

MIN_UNITS = 20
MIN_ARMS = 4


class PairSums(NamedTuple):
    """Sums over the units of one arm, population moments (divided by n)."""

    units: int
    """Units."""
    var_short: float
    """Variance of the short-term value."""
    var_long: float
    """Variance of the long-term value."""
    covariance: float
    """Of both."""


class Surrogate(NamedTuple):
    """How well the short-term value tells the long-term one."""

    correlation: float | None
    """Within arms, -1 to 1; None with a reason in the interval."""
    interval: Interval
    """Fisher's (1921), for one look."""
    units: int
    """Units that were followed to the end."""


def surrogate(arms: Sequence[PairSums], *, alpha: float = 0.05) -> Surrogate:
    """Correlation within arms, from the arms' sums."""
    units = sum(arm.units for arm in arms)
    short, long_, both = (
        sum(arm.units * part for arm, part in zip(arms, parts, strict=True))
        for parts in (
            [arm.var_short for arm in arms],
            [arm.var_long for arm in arms],
            [arm.covariance for arm in arms],
        )
    )
    if units < MIN_UNITS:
        return Surrogate(None, missing(f"needs {MIN_UNITS} units that were followed to the end, now {units}"), units)
    if short <= 0 or long_ <= 0:
        return Surrogate(None, missing("one of the two values is the same for all units"), units)
    r = max(-1.0, min(1.0, both / sqrt(short * long_)))
    if abs(r) > 1 - 1e-12:
        return Surrogate(r, missing("the two values are the same figure"), units)
    half = float(stats.norm.isf(fraction("alpha", alpha) / 2)) / sqrt(units - len(arms) - 2)
    return Surrogate(r, Interval(tanh(atanh(r) - half), tanh(atanh(r) + half)), units)


def correlation_of_arms(
    early: Sequence[float], late: Sequence[float], *, alpha: float = 0.05
) -> tuple[float | None, Interval]:
    """Correlation over arms of their early with their late values, with Fisher's interval for one look.

    Each arm counts once. The noise of the arms' values pulls the correlation towards 0.
    """
    arms = len(early)
    if arms < MIN_ARMS:
        return None, missing(f"needs {MIN_ARMS} arms whose units were followed to the end, now {arms}")
    if min(np.ptp(early), np.ptp(late)) <= 0:
        return None, missing("one of the two values is the same for all arms")
    r = float(np.corrcoef(early, late)[0, 1])
    if abs(r) > 1 - 1e-12:
        return r, missing("the two values are the same figure")
    half = float(stats.norm.isf(fraction("alpha", alpha) / 2)) / sqrt(arms - 3)
    return r, Interval(tanh(atanh(r) - half), tanh(atanh(r) + half))
