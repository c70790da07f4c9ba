"""Non-inferiority and equivalence of two arms, from a difference and its standard error.

The margin is declared before the experiment; this module must never derive one from data.
"""

from __future__ import annotations

from math import inf, isinf
from typing import NamedTuple

from scipy import stats

from experiments.results import Interval
from experiments.validation import fraction, positive


class NonInferiority(NamedTuple):
    """Test of H0: the treatment is worse by the margin or more."""

    p_value: float
    """One-sided."""
    bound: float
    """One-sided confidence limit of the difference on the harmful side."""
    shown: bool
    """True when the bound stays on the good side of the margin."""


class Equivalence(NamedTuple):
    """Two one-sided tests (TOST) of H0: the difference lies outside (-margin, margin)."""

    p_value: float
    """The larger of the two one-sided p-values."""
    p_lower: float
    """Of H0: difference <= -margin."""
    p_upper: float
    """Of H0: difference >= margin."""
    interval: Interval
    """The (1 - 2 alpha) interval, which lies inside the margins exactly when equivalence is shown."""
    shown: bool
    """True when p_value < alpha."""


def non_inferiority(
    difference: float,
    std_error: float,
    margin: float,
    *,
    df: float = inf,
    alpha: float = 0.05,
    higher_is_better: bool = True,
) -> NonInferiority:
    """One-sided test against a margin > 0 in the metric's unit (ICH E9); df infinite gives the z test."""
    positive("margin", margin)
    positive("standard error", std_error)
    good = difference if higher_is_better else -difference
    law = stats.norm if isinf(df) else stats.t(df)
    p = float(law.sf((good + margin) / std_error))
    bound = good - float(law.isf(fraction("alpha", alpha))) * std_error
    return NonInferiority(p, bound if higher_is_better else -bound, bound > -margin)


def equivalence(
    difference: float, std_error: float, margin: float, *, df: float = inf, alpha: float = 0.05
) -> Equivalence:
    """TOST (Schuirmann 1987) against a symmetric margin > 0 in the metric's unit."""
    positive("margin", margin)
    positive("standard error", std_error)
    law = stats.norm if isinf(df) else stats.t(df)
    lower = float(law.sf((difference + margin) / std_error))
    upper = float(law.cdf((difference - margin) / std_error))
    half = float(law.isf(fraction("alpha", alpha))) * std_error
    p = max(lower, upper)
    return Equivalence(p, lower, upper, Interval(difference - half, difference + half), p < alpha)
