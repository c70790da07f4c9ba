"""Before an experiment: power, minimum detectable effect, sample size and duration.

Every metric becomes a `Baseline`: a value and the standard deviation of a unit's influence on it. CUPED shrinks that
deviation by sqrt(1 - correlation^2). Power is that of a `Test`: the two-sided Welch or z test at a single look, or the
always-valid sequence of `experiments.arms.strata`, which the results page runs. This module must never look at the outcome
of a running experiment.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from statsmodels.stats import power as sm_power
from statsmodels.stats import proportion as sm_proportion

from experiments.arms.arm_cells import Kind
from experiments.arms.arm_sequence import MIN_SEQUENCE_EVENTS, MIN_SEQUENCE_UNITS, TUNED_AT
from experiments.sequences import asymptotic_half_width, tuned_rho
from experiments.validation import DataError, fraction, positive


class Test(NamedTuple):
    """The test that will be run."""

    alpha: float = 0.05
    """Type-I error."""
    at_every_look: bool = False
    """The always-valid sequence instead of a single look."""
    tuned_at: float | None = TUNED_AT
    """Units of both arms at which the sequence is narrowest; None is the planned number itself."""


SIMPLE = sm_power.TTestIndPower()


class Baseline(NamedTuple):
    """A metric before the experiment."""

    kind: Kind
    """Metric type."""
    value: float
    """Control's expected value, metric's unit."""
    unit_std: float
    """Standard deviation of one unit's influence on the value, after CUPED when `correlation` is not 0."""
    correlation: float
    """Correlation with the pre-experiment covariate that is already in `unit_std`; 0 without CUPED."""


class Plan(NamedTuple):
    """A design and the effect that it can detect."""

    n_control: int
    """Units in control."""
    n_treatment: int
    """Units in treatment."""
    effect: float
    """Absolute effect, metric's unit."""
    relative_effect: float | None
    """Effect over the control's value; None when that is 0."""
    power: float
    """Chance of a two-sided rejection at `alpha` when the effect is real."""
    alpha: float
    """Type-I error."""
    days: int | None
    """Days of traffic needed, None without a traffic figure."""


def mean_baseline(value: float, std: float, *, correlation: float = 0.0) -> Baseline:
    """A mean per unit with standard deviation `std`; `correlation` with a pre-experiment covariate for CUPED."""
    return _baseline("mean", value, positive("std", std), correlation)


def proportion_baseline(value: float, *, correlation: float = 0.0) -> Baseline:
    """A proportion of units, 0 < value < 1."""
    p = fraction("proportion", value)
    return _baseline("proportion", p, sqrt(p * (1 - p)), correlation)


def count_baseline(value: float, *, dispersion: float = 1.0, correlation: float = 0.0) -> Baseline:
    """Events per unit with variance dispersion * mean; 1 is Poisson, real counts have 2 to 10."""
    return _baseline(
        "count", value, sqrt(positive("mean count", value) * positive("dispersion", dispersion)), correlation
    )


def _baseline(kind: Kind, value: float, std: float, correlation: float) -> Baseline:
    if not -1 < correlation < 1:
        raise DataError(f"the correlation is {correlation}", fix="it must lie strictly between -1 and 1")
    return Baseline(kind, float(value), float(std) * sqrt(1 - correlation**2), float(correlation))


ONE_LOOK = Test()


def power(baseline: Baseline, effect: float, n_control: float, n_treatment: float, test: Test = ONE_LOOK) -> float:
    """Chance of rejecting "no difference" by the time that these units are there.

    At a single look: proportions by score test variances, others by the t test. At every look: the chance that the
    sequence excludes 0 at the last look, so that a test that may end earlier has a little more.
    """
    alpha = fraction("alpha", test.alpha)
    if min(n_control, n_treatment) < 2:
        raise DataError("an arm has fewer than two units", fix="plan for at least two")
    if test.at_every_look:
        return _sequential_power(baseline, effect, (n_control, n_treatment), test)
    if baseline.kind == "proportion" and baseline.correlation == 0:
        if not 0 < baseline.value + effect < 1:
            raise DataError(f"the proportion would become {baseline.value + effect:g}", fix="choose a smaller effect")
        result = sm_proportion.power_proportions_2indep(
            effect, baseline.value, n_treatment, ratio=n_control / n_treatment, alpha=alpha, return_results=True
        )
        return float(result.power)
    ratio = n_treatment / n_control
    if abs(effect) > 9 * baseline.unit_std * sqrt(1 / n_control + 1 / n_treatment):
        # The noncentral t distribution returns NaN this far out, where power is 1 to many digits.
        return 1.0
    return float(SIMPLE.power(abs(effect) / baseline.unit_std, n_control, alpha, ratio=ratio))


def minimum_detectable_effect(
    baseline: Baseline,
    n_control: float,
    n_treatment: float,
    *,
    test: Test = ONE_LOOK,
    wanted_power: float = 0.8,
    units_per_day: float | None = None,
) -> Plan:
    """Smallest positive effect that is detected with `wanted_power`."""
    fraction("power", wanted_power)
    # Beyond this effect a normal test has power 1 for all purposes; for proportions 1 is the end of the scale.
    top = 12 * baseline.unit_std * sqrt(1 / n_control + 1 / n_treatment)
    if baseline.kind == "proportion" and baseline.correlation == 0:
        top = min(top, (1 - baseline.value) * (1 - 1e-9))
    if power(baseline, top, n_control, n_treatment, test) < wanted_power:
        raise DataError("no effect can be detected with so few units", fix="plan for more units or a lower power")

    def missing_power(effect: float) -> float:
        return power(baseline, effect, n_control, n_treatment, test) - wanted_power

    effect = float(optimize.brentq(missing_power, top * 1e-9, top, xtol=top * 1e-13))
    sizes = (n_control, n_treatment)
    return _plan(baseline, effect, sizes, wanted_power, alpha=test.alpha, units_per_day=units_per_day)


def sample_size(
    baseline: Baseline,
    effect: float,
    *,
    test: Test = ONE_LOOK,
    wanted_power: float = 0.8,
    treatment_share: float = 0.5,
    units_per_day: float | None = None,
) -> Plan:
    """Units needed to detect `effect` (absolute, not 0) with `wanted_power`; days when `units_per_day` is given."""
    if effect == 0:
        raise DataError("the effect is 0", fix="plan for the smallest effect that matters")
    fraction("power", wanted_power)
    share = fraction("treatment share", treatment_share)

    def missing_power(log_total: float) -> float:
        total = float(np.exp(log_total))
        return power(baseline, effect, total * (1 - share), total * share, test) - wanted_power

    fewest = 2.0 / min(share, 1 - share) * (1 + 1e-9)  # exp(log(x)) may fall below x
    if test.at_every_look:
        open_at = max(MIN_SEQUENCE_UNITS, MIN_SEQUENCE_EVENTS / _rarest(baseline, effect))
        fewest = open_at / min(share, 1 - share) * (1 + 1e-9)
    guess = (baseline.unit_std / effect) ** 2 * 32 / (share * (1 - share)) + 10 * fewest
    low, high = float(np.log(fewest)), float(np.log(guess * 10))
    total = fewest if missing_power(low) >= 0 else float(np.exp(optimize.brentq(missing_power, low, high, xtol=1e-12)))
    # Without rounding, 1570.0000001 units would become 1571 on another machine.
    sizes = tuple(ceil(round(total * part, 6)) for part in (1 - share, share))
    reached = power(baseline, effect, sizes[0], sizes[1], test)
    return _plan(baseline, effect, sizes, reached, alpha=test.alpha, units_per_day=units_per_day)


def _sequential_power(baseline: Baseline, effect: float, sizes: tuple[float, float], test: Test) -> float:
    """P(|Z| > k), Z normal around effect / error, k the sequence's half width in errors; 0 while it is not open."""
    total = sum(sizes)
    if min(sizes) < MIN_SEQUENCE_UNITS or _rarest(baseline, effect) * min(sizes) < MIN_SEQUENCE_EVENTS:
        return 0.0
    spreads = (baseline.unit_std, baseline.unit_std)
    if baseline.kind == "proportion" and baseline.correlation == 0:
        raised = baseline.value + effect
        spreads = (baseline.unit_std, sqrt(raised * (1 - raised)))
    pooled = sqrt(sum(n * spread**2 for n, spread in zip(sizes, spreads, strict=True)) / total)
    error = sqrt(sum(max(spread, pooled) ** 2 / n for n, spread in zip(sizes, spreads, strict=True)))
    own = sqrt(sum(spread**2 / n for n, spread in zip(sizes, spreads, strict=True)))
    rho = tuned_rho(total if test.tuned_at is None else test.tuned_at, test.alpha)
    bound = asymptotic_half_width(error, total, rho, test.alpha)
    return float(stats.norm.sf((bound - abs(effect)) / own) + stats.norm.cdf((-bound - abs(effect)) / own))


def _rarest(baseline: Baseline, effect: float) -> float:
    """Share of units with an event, or without one if that is rarer; 1 where values are not yes or no."""
    if baseline.kind != "proportion":
        return 1.0
    if not 0 < baseline.value + effect < 1:
        raise DataError(f"the proportion would become {baseline.value + effect:g}", fix="choose a smaller effect")
    middle = baseline.value + effect / 2
    return min(middle, 1 - middle)


def _plan(
    baseline: Baseline,
    effect: float,
    sizes: tuple[float, ...],
    reached: float,
    *,
    alpha: float,
    units_per_day: float | None,
) -> Plan:
    relative = effect / baseline.value if baseline.value != 0 else None
    days = None if units_per_day is None else ceil(sum(sizes) / positive("units per day", units_per_day))
    return Plan(round(sizes[0]), round(sizes[1]), effect, relative, reached, alpha, days)


def sequential_inflation(n: float, *, alpha: float = 0.05, tuned_at: float | None = None) -> float:
    """How many times more units an asymptotic confidence sequence needs to be as narrow as the fixed interval at n.

    About 2.5 with the default (`tuned_at` = n) at alpha 0.05.
    """
    rho = tuned_rho(n if tuned_at is None else tuned_at, alpha)
    z = float(stats.norm.isf(fraction("alpha", alpha) / 2))

    def excess(factor: float) -> float:
        # Standard error shrinks with the root of the factor while t grows with it.
        return asymptotic_half_width(1 / sqrt(factor), n * factor, rho, alpha) - z

    return float(optimize.brentq(excess, 1.0, 100.0))
