"""Non-inferiority of an arm, from a difference and its standard error.

The margin is declared before the experiment; this module must never derive one from data.
"""

from __future__ import annotations

from math import inf, isinf
from typing import NamedTuple

from scipy import stats

from experiments.validation import fraction, positive


class NonInferiority(NamedTuple):
    """Test of H0: the treatment is worse by the margin or more."""

    p_value: float
    """One-sided."""
    bound: float
    """One-sided confidence limit of the difference on the harmful side."""
    shown: bool
    """True when the bound stays on the good side of the margin."""


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
