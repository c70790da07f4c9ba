"""Two arms compared by the number of units with an event: from counts alone, so that parts can be merged.

The estimand is the difference (and the ratio) of two proportions of units. Units are independent, and each has the event
or not. The interval holds for one look. This module must never take decisions for units: several of a unit are not
independent.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

import numpy as np
from statsmodels.stats import proportion as sm_proportion

from experiments.arms.comparison import CONSTANT, ArmEstimate, Comparison
from experiments.results import Interval, missing
from experiments.validation import DataError

ProportionMethod = Literal["newcomb", "wald", "agresti-caffo", "score"]


def compare_proportions(
    successes_control: int,
    n_control: int,
    successes_treatment: int,
    n_treatment: int,
    *,
    alpha: float = 0.05,
    interval_method: ProportionMethod = "newcomb",
) -> Comparison:
    """Two proportions of units: pooled z test (no continuity correction), Newcombe's interval, log-delta lift.

    It needs only counts, so parts can be merged. statsmodels computes the test and the intervals.
    """
    for count, n in ((successes_control, n_control), (successes_treatment, n_treatment)):
        if not (n >= 2 and 0 <= count <= n):
            raise DataError(
                f"{count} successes of {n} units", fix="each arm needs two units, and no more successes than units"
            )
    arms = [
        ArmEstimate(k / n, k / n * (1 - k / n) / n, n)
        for k, n in ((successes_control, n_control), (successes_treatment, n_treatment))
    ]
    control, treatment = arms
    difference = treatment.value - control.value
    if successes_control + successes_treatment in (0, n_control + n_treatment):
        relative = 0.0 if successes_control else None
        nothing = missing(CONSTANT)
        return Comparison(control, treatment, difference, None, None, None, nothing, relative, nothing, "pooled z")
    counts, totals = np.array([successes_treatment, successes_control]), np.array([n_treatment, n_control])
    z, p = sm_proportion.proportions_ztest(counts, totals)
    low, high = sm_proportion.confint_proportions_2indep(
        counts[0], totals[0], counts[1], totals[1], method=interval_method, compare="diff", alpha=alpha
    )
    error = sqrt(control.variance + treatment.variance)
    lift, lift_interval = _proportion_lift(control, treatment, (successes_control, successes_treatment), alpha)
    interval = Interval(float(low), float(high))
    method = f"pooled z, {interval_method} interval"
    return Comparison(control, treatment, difference, error, float(z), float(p), interval, lift, lift_interval, method)


def _proportion_lift(
    control: ArmEstimate, treatment: ArmEstimate, successes: tuple[int, int], alpha: float
) -> tuple[float | None, Interval]:
    if control.value == 0:
        return None, missing("the control has no successes, so that no relative lift exists")
    lift = treatment.value / control.value - 1
    if min(successes) == 0:
        return lift, missing("an arm has no successes, so that the logarithm of the ratio does not exist")
    low, high = sm_proportion.confint_proportions_2indep(
        successes[1], treatment.n, successes[0], control.n, method="log", compare="ratio", alpha=alpha
    )
    return lift, Interval(float(low) - 1, float(high) - 1)
