"""Two arms of an A/B test compared on unit-level data: means, proportions, ratios of sums, quantiles, event counts.

An arm enters as mergeable `Moments` of four unit-level columns (numerator, denominator, and the same two before the
experiment); a mean is the ratio whose denominator is 1. The estimand is treatment minus control (and treatment over
control - 1) of the population mean, or of the ratio of means. Intervals here are valid for a single, pre-declared look;
for numbers that refresh, use `experiments.sequences`. This module must never compare arms of a bandit: their raw means
are biased (`experiments.off_policy.adaptive`).
"""

from __future__ import annotations

from math import exp, inf, isinf, log, sqrt
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.sums import Moments, moments
from experiments.validation import ArrayLike, DataError, fraction, refuse_first, same_length, vector

Alternative = Literal["two-sided", "larger", "smaller"]
NUM, DEN, PRE_NUM, PRE_DEN = range(4)
FIELLER_BELOW = 4.0
"""Below this many standard errors between the control's value and 0 the relative lift uses Fieller's interval."""
CONSTANT = "the metric does not vary in one or both arms, so that its error is unknown"


class ArmEstimate(NamedTuple):
    """A metric's value in an arm."""

    value: float
    """Mean, rate, ratio or quantile, in the metric's unit."""
    variance: float
    """Squared standard error of the value."""
    n: int
    """Units."""
    df: float | None = None
    """Degrees of freedom of the variance; None is n - 1. Fewer where a few units carry most of the weight."""

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance."""
        return self.n - 1 if self.df is None else self.df


class Comparison(NamedTuple):
    """Treatment against control on a metric, at a single pre-declared look."""

    control: ArmEstimate
    """The control arm."""
    treatment: ArmEstimate
    """The treatment arm."""
    difference: float
    """Treatment minus control, metric's unit."""
    std_error: float | None
    """Standard error of the difference; None when neither arm varies."""
    statistic: float | None
    """t or z; None without a standard error."""
    p_value: float | None
    """Of the null hypothesis "no difference"; None without a standard error."""
    interval: Interval
    """Of the difference; one end is infinite in a one-sided test."""
    relative_lift: float | None
    """(treatment - control) / |control|, so that its sign is that of the difference; None when the control's value is 0."""
    relative_interval: Interval
    """Of the relative lift."""
    method: str
    """Names of the test and the intervals."""


def arm_moments(
    numerator: ArrayLike,
    denominator: ArrayLike | None = None,
    pre_numerator: ArrayLike | None = None,
    pre_denominator: ArrayLike | None = None,
) -> Moments:
    """Mergeable moments of one arm from one value per unit. Missing denominators are 1, missing covariates 0.

    For ratios pass each unit's SUMS. Raises `DataError` for NaN anywhere, for fewer than two units, and for
    denominators that sum to 0. The caller imputes the covariate of units without history.
    """
    num = vector("metric", numerator, minimum_length=2)
    den = np.ones_like(num) if denominator is None else vector("denominator", denominator)
    pre = np.zeros_like(num) if pre_numerator is None else vector("covariate", pre_numerator)
    pre_den = np.ones_like(num) if pre_denominator is None else vector("covariate denominator", pre_denominator)
    same_length(metric=num, denominator=den, covariate=pre, covariate_denominator=pre_den)
    for name, column in (("denominator", den), ("covariate denominator", pre_den)):
        refuse_first(column < 0, column, f"the {name} is {{value}}", "denominators are counts or times, 0 or larger")
        if column.sum() <= 0:
            raise DataError(f"the {name} sums to 0 in an arm", fix="no ratio exists; drop the metric")
    return moments(np.stack([num, den, pre, pre_den]))


def linear_variance(m: Moments, numerator: int, denominator: int) -> float:
    """Variance (ddof 1) of the linearised ratio (N - R D) / mean(D) over units (Deng, Knoblich and Lu 2018)."""
    mean_den = float(m.mean[denominator])
    ratio = float(m.mean[numerator]) / mean_den
    a = np.zeros(len(m.mean))
    a[numerator] += 1 / mean_den
    a[denominator] -= ratio / mean_den
    return max(float(a @ m.covariance() @ a), 0.0)


def arm_estimate(m: Moments) -> ArmEstimate:
    """Value and squared standard error of an arm's mean or ratio."""
    return ArmEstimate(float(m.mean[NUM] / m.mean[DEN]), linear_variance(m, NUM, DEN) / m.n, m.n)


def compare(
    control: Moments, treatment: Moments, *, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> Comparison:
    """Welch's test (1947) on means, or on ratios of sums with the delta method, from arms' moments."""
    return compare_estimates(arm_estimate(control), arm_estimate(treatment), alpha=alpha, alternative=alternative)


def compare_estimates(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    method: str = "Welch t",
    covariance: float = 0.0,
) -> Comparison:
    """Welch's test for any two independent estimates with variances on their degrees of freedom.

    `covariance` of the two values matters to the relative lift only: it is not 0 where both share an estimated covariate
    mean, whose part cancels from the difference, so that the arms' variances must hold the part that does not.
    """
    fraction("alpha", alpha)
    difference, variance = treatment.value - control.value, treatment.variance + control.variance
    # Rounding leaves about 1e-34 of variance on a constant column; a metric cannot be known to 12 digits.
    scale = max(abs(treatment.value), abs(control.value), 1e-300)
    if sqrt(variance) <= 1e-12 * scale:
        relative = None if control.value == 0 else difference / abs(control.value)
        return Comparison(
            control,
            treatment,
            difference,
            None,
            None,
            None,
            missing(CONSTANT),
            relative,
            missing(CONSTANT),
            method,
        )
    error, df = sqrt(variance), welch_df(control, treatment)
    p, interval = _test(difference, error, df, alpha, alternative)
    lift, lift_interval = relative_lift(control, treatment, alpha=alpha, alternative=alternative, covariance=covariance)
    return Comparison(
        control, treatment, difference, error, difference / error, p, interval, lift, lift_interval, method
    )


def welch_df(control: ArmEstimate, treatment: ArmEstimate) -> float:
    """Welch and Satterthwaite's degrees of freedom."""
    top = (control.variance + treatment.variance) ** 2
    bottom = sum(arm.variance**2 / arm.freedom for arm in (control, treatment) if arm.variance > 0)
    return top / bottom if bottom > 0 else inf


def _test(difference: float, error: float, df: float, alpha: float, alternative: Alternative) -> tuple[float, Interval]:
    t = difference / error
    # The survival function keeps tiny p-values that 1 - cdf would round to 0.
    if alternative == "two-sided":
        half = float(_quantile(alpha / 2, df)) * error
        return float(2 * stats.t.sf(abs(t), df)), Interval(difference - half, difference + half)
    half = float(_quantile(alpha, df)) * error
    if alternative == "larger":
        return float(stats.t.sf(t, df)), Interval(difference - half, inf)
    return float(stats.t.cdf(t, df)), Interval(-inf, difference + half)


def _quantile(tail: float, df: float) -> float:
    return float(stats.norm.isf(tail) if isinf(df) else stats.t.isf(tail, df))


def relative_lift(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    covariance: float = 0.0,
) -> tuple[float | None, Interval]:
    """(treatment - control) / |control| with its interval: log-delta, or Fieller's when the control may be near 0.

    Log-delta: exp(ln(b/a) +- t sqrt(Vb/b^2 + Va/a^2 - 2 Cov/(a b))) - 1, with Welch's degrees of freedom of the logs. A
    negative control turns neither the sign nor the sides: -10 against -8 is +20%. An arm that does not vary has an
    unknown error, so there is no interval.
    """
    a, b = control.value, treatment.value
    if a == 0:
        return None, missing("the control's value is 0, so that no relative lift exists")
    lift = (b - a) / abs(a)
    if min(control.variance, treatment.variance) <= 0:
        return lift, missing("the metric does not vary in an arm, so that the error of the relative lift is unknown")
    if a < 0:
        mirrored = [arm._replace(value=-arm.value) for arm in (control, treatment)]
        turned: dict[Alternative, Alternative] = {"larger": "smaller", "smaller": "larger"}
        _, interval = relative_lift(
            mirrored[0],
            mirrored[1],
            alpha=alpha,
            alternative=turned.get(alternative, alternative),
            covariance=covariance,
        )
        if interval.low is None or interval.high is None:
            return lift, interval
        return lift, interval._replace(low=-interval.high, high=-interval.low)
    if not (b > 0 and a * a / control.variance >= FIELLER_BELOW**2):
        return lift, fieller(control, treatment, alpha=alpha, alternative=alternative, covariance=covariance)
    logs = [arm._replace(value=0.0, variance=arm.variance / arm.value**2) for arm in (control, treatment)]
    error = sqrt(max(logs[0].variance + logs[1].variance - 2 * covariance / (a * b), 0.0))
    tail = alpha / 2 if alternative == "two-sided" else alpha
    half = _quantile(tail, welch_df(logs[0], logs[1])) * error
    low = -1.0 if alternative == "smaller" else exp(log(b / a) - half) - 1
    high = inf if alternative == "larger" else exp(log(b / a) + half) - 1
    return lift, Interval(low, high)


def fieller(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    covariance: float = 0.0,
) -> Interval:
    """Fieller's (1954) interval for treatment / control - 1; none when the control does not differ from 0.

    The ratios R for which (b - R a)^2 <= t^2 (Vb - 2 R Cov + R^2 Va).
    """
    a, b = control.value, treatment.value
    t = _quantile(alpha / 2 if alternative == "two-sided" else alpha, welch_df(control, treatment))
    square = a * a - t * t * control.variance
    if square <= 0:
        return missing("the control's value is not clearly different from 0, so that the relative lift is unbounded")
    middle = a * b - t * t * covariance
    root = sqrt(max(middle**2 - square * (b * b - t * t * treatment.variance), 0.0))
    low, high = (middle - root) / square - 1, (middle + root) / square - 1
    return Interval(-inf if alternative == "smaller" else low, inf if alternative == "larger" else high)


def quantile_estimate(values: ArrayLike, quantile: float) -> ArmEstimate:
    """A sample quantile (linear interpolation) with Woodruff's (1952) standard error from order statistics.

    The error is the half distance between the quantiles at p +- z sqrt(p (1 - p) / n), z = 1.96, over z: no density has
    to be estimated. Units must be independent and hold one value each.
    """
    x = vector("metric", values, minimum_length=2)
    ends = quantile_ends(quantile, len(x))
    value, low, high = (float(q) for q in np.quantile(x, ends))
    return woodruff(quantile, (value, low, high), len(x))


def quantile_ends(quantile: float, n: int) -> tuple[float, float, float]:
    """The quantiles of n values that `woodruff` needs: the one asked for, and the ends of its 95% range."""
    p = fraction("quantile", quantile)
    step = float(stats.norm.isf(0.025)) * sqrt(p * (1 - p) / n)
    return p, max(p - step, 0.0), min(p + step, 1.0)


def woodruff(quantile: float, values: tuple[float, float, float], n: int) -> ArmEstimate:
    """The estimate from the values at `quantile_ends`."""
    z = float(stats.norm.isf(0.025))
    p, below, above = quantile_ends(quantile, n)
    value, low, high = values
    # Near the edge of the data one side is cut off; what is left spans fewer than 2 z standard errors.
    spanned = (above - below) / (z * sqrt(p * (1 - p) / n))
    return ArmEstimate(value, ((high - low) / (spanned * z)) ** 2, n)


def compare_quantiles(control: ArrayLike, treatment: ArrayLike, quantile: float, *, alpha: float = 0.05) -> Comparison:
    """Difference of two sample quantiles with Woodruff errors. Needs at least about 10 units beyond the quantile."""
    arms = [quantile_estimate(values, quantile) for values in (control, treatment)]
    return compare_quantile_estimates(arms[0], arms[1], quantile, alpha=alpha)


def compare_quantile_estimates(
    control: ArmEstimate, treatment: ArmEstimate, quantile: float, *, alpha: float = 0.05
) -> Comparison:
    """The same from the arms' quantiles."""
    arms = (control, treatment)
    comparison = compare_estimates(control, treatment, alpha=alpha, method=f"quantile {quantile:g}, Woodruff")
    beyond = min(arm.n for arm in arms) * min(quantile, 1 - quantile)
    if beyond < 10:
        reason = f"only {beyond:.1f} units of an arm lie beyond the quantile; 10 are needed"
        return comparison._replace(
            std_error=None, statistic=None, p_value=None, interval=missing(reason), relative_interval=missing(reason)
        )
    return comparison
