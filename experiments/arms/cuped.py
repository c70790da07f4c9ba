"""Variance reduction with data from before the experiment: CUPED for means and for ratios.

Covariates must be fixed before exposure. A covariate that the treatment changes biases the result, and no check can
detect it. This module must never drop a unit that lacks a covariate: the caller imputes.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from experiments.arms.comparison import (
    DEN,
    NUM,
    PRE_DEN,
    PRE_NUM,
    Alternative,
    ArmEstimate,
    Comparison,
    compare_estimates,
    linear_variance,
    relative_lift,
)
from experiments.sums import Moments, merge_moments
from experiments.validation import DataError, FloatArray


class CupedResult(NamedTuple):
    """A comparison after adjustment, and the effect of the adjustment."""

    comparison: Comparison
    """Treatment against control on the adjusted metric."""
    theta: float
    """Regression slope of the metric on its covariate, pooled over both arms."""
    correlation: float
    """Correlation of (linearised) metric and covariate over both arms."""
    variance_ratio: float
    """Adjusted over unadjusted variance of the difference, 1 when the covariate is useless."""


def cuped(
    control: Moments, treatment: Moments, *, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> CupedResult:
    """CUPED (Deng, Xu, Kohavi and Walker 2013) on two arms' moments, for means and for ratios of sums.

    theta = cov(Y, X) / var(X) over both arms together, Y' = Y - theta (X - pooled mean of X), then Welch. For ratios Y
    and X are linearised (Deng, Knoblich and Lu 2018). Raises `DataError` for a constant covariate.
    """
    pooled = merge_moments(control, treatment)
    y, x = _linear(pooled, NUM, DEN), _linear(pooled, PRE_NUM, PRE_DEN)
    covariance = pooled.covariance()
    var_x = float(x @ covariance @ x)
    centre = float(pooled.mean[PRE_NUM] / pooled.mean[PRE_DEN])
    if var_x <= 1e-24 * max(centre * centre, 1e-300):
        raise DataError("the covariate does not vary", fix="drop it: a constant explains nothing")
    theta = float(y @ covariance @ x) / var_x
    arms = [_adjusted(arm, theta, centre) for arm in (control, treatment)]
    comparison = compare_estimates(arms[0], arms[1], alpha=alpha, alternative=alternative, method="CUPED, Welch t")
    if comparison.std_error is not None:
        both, shared = _with_estimated_centre((control, treatment), arms, theta)
        _, relative = relative_lift(both[0], both[1], alpha=alpha, alternative=alternative, covariance=shared)
        comparison = comparison._replace(relative_interval=relative)
    before = sum(linear_variance(arm, NUM, DEN) / arm.n for arm in (control, treatment))
    after = arms[0].variance + arms[1].variance
    var_y = float(y @ covariance @ y)
    correlation = float(y @ covariance @ x) / sqrt(var_x * var_y) if var_y > 0 else 0.0
    return CupedResult(comparison, theta, correlation, after / before if before > 0 else 1.0)


def _linear(m: Moments, numerator: int, denominator: int) -> FloatArray:
    """Coefficients of the linearised ratio (N - R D) / mean(D); for D = 1 those of a plain mean."""
    out = np.zeros(len(m.mean))
    mean_den = float(m.mean[denominator])
    out[numerator] += 1 / mean_den
    out[denominator] -= float(m.mean[numerator]) / mean_den**2
    return out


def _adjusted(arm: Moments, theta: float, centre: float) -> ArmEstimate:
    a = _linear(arm, NUM, DEN) - theta * _linear(arm, PRE_NUM, PRE_DEN)
    value = arm.mean[NUM] / arm.mean[DEN] - theta * (arm.mean[PRE_NUM] / arm.mean[PRE_DEN] - centre)
    return ArmEstimate(float(value), max(float(a @ arm.covariance() @ a), 0.0) / arm.n, arm.n)


def _with_estimated_centre(
    moments: tuple[Moments, Moments], arms: list[ArmEstimate], theta: float
) -> tuple[list[ArmEstimate], float]:
    """The arms with the error of the covariate's pooled mean, and the covariance that it gives them.

    That mean is estimated. It cancels from the difference, but not from the ratio.
    """
    total = sum(arm.n for arm in moments)
    shared, crossed = 0.0, []
    for arm in moments:
        x = _linear(arm, PRE_NUM, PRE_DEN)
        adjusted = _linear(arm, NUM, DEN) - theta * x
        covariance, part = arm.covariance(), arm.n / total
        shared += theta**2 * part**2 * float(x @ covariance @ x) / arm.n
        crossed.append(theta * part * float(adjusted @ covariance @ x) / arm.n)
    both = [
        estimate._replace(variance=max(estimate.variance + shared + 2 * cross, 0.0))
        for estimate, cross in zip(arms, crossed, strict=True)
    ]
    return both, shared + sum(crossed)
