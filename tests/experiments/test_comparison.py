"""Comparison of arms, CUPED, non-inferiority, chances: definitions checked against independent computations."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from experiments import multiplicity
from experiments.arms import bayes, comparison, cuped, proportions
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.comparison import ArmEstimate
from experiments.arms.non_inferiority import non_inferiority
from experiments.arms.strata import compare_strata
from experiments.sums import Moments
from experiments.validation import DataError

A, B = ArmEstimate(2.0, 0.04, 500), ArmEstimate(2.3, 0.05, 400)


def test_fieller_ends_are_where_the_combined_difference_is_just_significant() -> None:
    t = stats.t.isf(0.025, comparison.welch_df(A, B))
    for end in comparison.fieller(A, B)[:2]:
        ratio = 1 + (end or 0)
        assert (B.value - ratio * A.value) ** 2 == pytest.approx(t**2 * (B.variance + ratio**2 * A.variance), rel=1e-9)


def test_the_lift_uses_fieller_near_zero_and_has_no_interval_when_the_control_may_be_zero() -> None:
    weak = ArmEstimate(0.5, 0.03, 500)
    assert comparison.relative_lift(weak, B)[1] == comparison.fieller(weak, B)
    nothing = comparison.relative_lift(ArmEstimate(0.1, 0.03, 500), B)[1]
    assert not nothing.exists
    assert "unbounded" in nothing.reason
    assert comparison.relative_lift(ArmEstimate(0.0, 0.03, 500), B)[0] is None
    negative = comparison.relative_lift(ArmEstimate(-2.0, 0.01, 500), ArmEstimate(-3.0, 0.01, 500))
    assert negative[0] == pytest.approx(-0.5)
    assert negative[1].covers(-0.5)
    turned = comparison.relative_lift(ArmEstimate(2.0, 0.01, 500), ArmEstimate(1.0, 0.01, 500))[1]
    assert negative[1].low == pytest.approx(
        -(comparison.relative_lift(ArmEstimate(2.0, 0.01, 500), ArmEstimate(3.0, 0.01, 500))[1].high or 0)
    )
    assert turned.covers(-0.5)


def test_fieller_and_log_delta_agree_when_the_control_is_far_from_zero() -> None:
    a, b = ArmEstimate(10.0, 0.01, 5000), ArmEstimate(10.5, 0.01, 5000)
    lift = comparison.relative_lift(a, b)[1]
    assert lift[:2] == pytest.approx(comparison.fieller(a, b)[:2], abs=2e-4)


def test_one_sided_alternatives_split_the_two_sided_p_value() -> None:
    two = comparison.compare_estimates(A, B)
    larger, smaller = (comparison.compare_estimates(A, B, alternative=a) for a in ("larger", "smaller"))  # type: ignore[arg-type]
    assert larger.p_value == pytest.approx((two.p_value or 0) / 2)
    assert (larger.p_value or 0) + (smaller.p_value or 0) == pytest.approx(1)
    assert larger.interval[1] == np.inf
    assert smaller.interval[0] == -np.inf


def test_tiny_p_values_do_not_become_zero() -> None:
    far = comparison.compare_estimates(ArmEstimate(0.0, 1e-4, 10_000), ArmEstimate(0.3, 1e-4, 10_000))
    assert far.p_value is not None
    assert 0 < far.p_value < 1e-80


def test_a_metric_may_be_constant_in_one_arm_but_not_in_both() -> None:
    flat, lively = comparison.arm_moments([2.0] * 50), comparison.arm_moments([1.0, 3.0] * 25)
    assert comparison.compare(flat, lively).interval.exists
    both = comparison.compare(flat, comparison.arm_moments([3.0] * 50))
    assert both.p_value is None
    assert both.std_error is None
    assert "not vary" in both.interval.reason


def test_too_few_units_nan_and_negative_denominators_are_refused() -> None:
    with pytest.raises(DataError, match="metric has 1 rows"):
        comparison.arm_moments([1.0])
    with pytest.raises(DataError, match="covariate is nan at row 2"):
        comparison.arm_moments([1.0, 2, 3], None, [1.0, 2.0, np.nan])
    with pytest.raises(DataError, match="denominator is -1"):
        comparison.arm_moments([1.0, 2], [1.0, -1.0])
    with pytest.raises(DataError, match="different lengths"):
        comparison.arm_moments([1.0, 2], [1.0, 1, 1])
    with pytest.raises(DataError, match="successes"):
        proportions.compare_proportions(5, 4, 1, 10)
    with pytest.raises(DataError, match="covariate does not vary"):
        cuped.cuped(comparison.arm_moments([1.0, 2], None, [3, 3]), comparison.arm_moments([1.0, 2], None, [3, 3]))


def test_proportions_without_successes_have_reasons() -> None:
    none = proportions.compare_proportions(0, 100, 0, 100)
    assert none.p_value is None
    assert none.interval.reason
    some = proportions.compare_proportions(0, 100, 5, 100)
    assert some.interval.exists
    assert some.relative_lift is None
    assert some.relative_interval.reason


def test_quantiles_need_units_beyond_them_and_their_errors_match_the_known_density() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    result = comparison.quantile_estimate(x, 0.9)
    exact = sqrt(0.9 * 0.1 / 20_000) / stats.norm.pdf(stats.norm.ppf(0.9))
    assert sqrt(result.variance) == pytest.approx(exact, rel=0.1)
    scarce = comparison.compare_quantiles(x[:100], x[100:200], 0.95)
    assert not scarce.interval.exists
    assert "10 are needed" in scarce.interval.reason


def paired(control: list[Moments], treatment: list[Moments]) -> list[Stratum]:
    cells = [[ArmCell(m, float(abs(m.mean[0]))) for m in side] for side in (control, treatment)]
    return [Stratum(*pair) for pair in zip(*cells, strict=True)]


def test_post_stratification_equals_its_textbook_form_and_one_segment_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    segment = rng.integers(0, 3, 900)
    arm = rng.integers(0, 2, 900)
    y = 5.0 * segment + 0.3 * arm + rng.normal(size=900)
    cells = [[comparison.arm_moments(y[(arm == a) & (segment == s)]) for s in range(3)] for a in (0, 1)]
    result = compare_strata(paired(cells[0], cells[1])).comparison
    share = np.bincount(segment) / 900
    means = np.array([[y[(arm == a) & (segment == s)].mean() for s in range(3)] for a in (0, 1)])
    assert result.difference == pytest.approx(share @ (means[1] - means[0]), rel=1e-9)
    variance = sum(
        share[s] ** 2 * y[(arm == a) & (segment == s)].var(ddof=1) / ((arm == a) & (segment == s)).sum()
        for a in (0, 1)
        for s in range(3)
    )
    assert result.std_error == pytest.approx(sqrt(variance), rel=1e-9)
    plain = [comparison.arm_moments(y[arm == a]) for a in (0, 1)]
    assert result.std_error is not None
    assert result.std_error < 0.4 * (comparison.compare(*plain).std_error or 0)
    alone = compare_strata(paired([plain[0]], [plain[1]])).comparison
    assert alone.p_value == pytest.approx(comparison.compare(*plain).p_value, rel=1e-9)


def test_cuped_removes_the_variance_that_the_covariate_explains_and_no_more() -> None:
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=(2, 2000)), rng.normal(size=(2, 2000))
    y = 2 * x + noise
    related = cuped.cuped(*(comparison.arm_moments(y[i], None, x[i]) for i in (0, 1)))
    assert related.variance_ratio == pytest.approx(0.2, rel=0.05)
    assert related.variance_ratio == pytest.approx(1 - related.correlation**2, rel=0.02)
    unrelated = cuped.cuped(*(comparison.arm_moments(noise[i], None, x[i]) for i in (0, 1)))
    assert unrelated.variance_ratio == pytest.approx(1.0, abs=0.01)


def test_non_inferiority_follows_the_direction_of_the_metric() -> None:
    good = non_inferiority(-0.01, 0.005, 0.03)
    assert good.shown
    assert good.bound == pytest.approx(-0.01 - 1.6448536 * 0.005)
    assert good.p_value == pytest.approx(stats.norm.sf(4.0))
    slower = non_inferiority(0.01, 0.005, 0.03, higher_is_better=False)
    assert slower.p_value == pytest.approx(good.p_value)
    assert slower.bound == pytest.approx(-good.bound)
    assert not non_inferiority(-0.05, 0.005, 0.03).shown
    with pytest.raises(DataError, match="margin"):
        non_inferiority(0.0, 1.0, -1.0)


def test_two_arms_have_the_textbook_chance_to_win_and_expected_loss() -> None:
    result = bayes.chances([1.0, 1.3], [0.2, 0.1])
    s, d = sqrt(0.05), 0.3
    assert result[1].chance_to_win == pytest.approx(stats.norm.cdf(d / s), abs=1e-6)
    loss = s * stats.norm.pdf(d / s) - d * stats.norm.sf(d / s)
    assert result[1].expected_loss == pytest.approx(loss, abs=1e-6)
    assert result[0].expected_loss == pytest.approx(loss + d, abs=1e-6)


def test_several_arms_agree_with_draws_from_their_posteriors() -> None:
    mean, std = np.array([0.0, 0.1, 0.15, -0.3]), np.array([0.1, 0.2, 0.05, 0.4])
    draws = np.random.default_rng(0).normal(mean, std, size=(400_000, 4))
    for arm, result in enumerate(bayes.chances(mean, std)):
        assert result.chance_to_win == pytest.approx((draws.argmax(axis=1) == arm).mean(), abs=0.004)
        assert result.expected_loss == pytest.approx((draws.max(axis=1) - draws[:, arm]).mean(), abs=0.003)
    flipped = bayes.chances(-mean, std, higher_is_better=False)
    assert flipped[2].chance_to_win == pytest.approx(bayes.chances(mean, std)[2].chance_to_win)


def test_a_prior_shrinks_arms_towards_its_mean() -> None:
    pulled = bayes.chances([1.0, 3.0], [1.0, 1.0], prior_mean=0.0, prior_std=1.0)
    assert [arm.mean for arm in pulled] == pytest.approx([0.5, 1.5])
    assert pulled[0].std == pytest.approx(sqrt(0.5))
    with pytest.raises(DataError, match="standard error is 0"):
        bayes.chances([1.0, 2.0], [0.0, 1.0])


def test_comparisons_without_p_values_keep_their_position() -> None:
    assert multiplicity.adjust([0.01, None, 0.02]) == [0.02, None, 0.02]
    assert multiplicity.adjust([None]) == [None]
    rng = np.random.default_rng(7)
    for size in (1, 2, 5, 40):
        raw = np.round(rng.random(size) ** 3, 2)  # rounded: ties
        theirs = multipletests(raw, method="holm")[1]
        assert multiplicity.adjust(raw.tolist()) == pytest.approx(np.minimum(theirs, 1.0).tolist(), rel=1e-12)
    with pytest.raises(DataError, match="outside 0 to 1"):
        multiplicity.adjust([1.2])
