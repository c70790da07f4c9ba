"""A/B numbers of reference/expected.json, through the pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats import proportion as sm_proportion

from experiments import multiplicity
from experiments.arms import comparison, cuped, proportions
from experiments.arms.comparison import DEN, NUM
from experiments.arms.non_inferiority import non_inferiority
from experiments.designs import planning
from experiments.sums import Moments, merge_moments

EXACT = 1e-9
PAIRS = {"0_vs_1": (0, 1), "0_vs_2": (0, 2)}


def arm(users: pd.DataFrame, variant: int, *columns: str | None) -> Moments:
    mine = users[users.variant == variant]
    return comparison.arm_moments(*(None if c is None else mine[c].to_numpy(float) for c in columns))


def both(users: pd.DataFrame, pair: str, *columns: str | None) -> tuple[Moments, Moments]:
    control, treatment = PAIRS[pair]
    return arm(users, control, *columns), arm(users, treatment, *columns)


def check(result: comparison.Comparison, known: dict[str, Any], *, lift_within: float = 1e-7) -> None:
    """A comparison against one row of tea-tasting's table.

    With a covariate, tea-tasting takes the covariate's mean as known; Loopwise counts that it is estimated.
    """
    assert result.control.value == pytest.approx(known["control"], rel=EXACT)
    assert result.treatment.value == pytest.approx(known["treatment"], rel=EXACT)
    assert result.difference == pytest.approx(known["effect_size"], rel=EXACT)
    assert result.p_value == pytest.approx(known["pvalue"], rel=1e-8)
    ends = [known[f"effect_size_ci_{side}"] for side in ("lower", "upper")]
    assert result.interval[:2] == pytest.approx([float(e) for e in ends], rel=1e-8, abs=1e-12)
    assert result.relative_lift == pytest.approx(known["rel_effect_size"], rel=1e-8)
    lift = [known[f"rel_effect_size_ci_{side}"] for side in ("lower", "upper")]
    assert result.relative_interval[:2] == pytest.approx([float(e) for e in lift], rel=lift_within, abs=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_welch_ratio_and_cuped_equal_tea_tasting(pair: str, users: pd.DataFrame, expected: Any) -> None:
    known = expected["ab_users_tea_tasting"]["results"][pair]
    check(comparison.compare(*both(users, pair, "revenue")), known["revenue_welch_t"])
    check(comparison.compare(*both(users, pair, "revenue"), alternative="larger"), known["revenue_greater"])
    check(comparison.compare(*both(users, pair, "clicks", "impressions")), known["ctr_ratio"])
    check(
        cuped.cuped(*both(users, pair, "revenue", None, "pre_revenue")).comparison,
        known["revenue_cuped"],
        lift_within=2e-3,
    )
    columns = ("clicks", "impressions", "pre_clicks", "pre_impressions")
    check(cuped.cuped(*both(users, pair, *columns)).comparison, known["ctr_ratio_cuped"], lift_within=2e-3)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_z_and_pooled_variants_of_tea_tasting_follow_from_the_same_moments(
    pair: str, users: pd.DataFrame, expected: Any
) -> None:
    """Loopwise prints Welch only; the other two differ in the reference law and in the variance."""
    known = expected["ab_users_tea_tasting"]["results"][pair]
    control, treatment = both(users, pair, "revenue")
    welch = comparison.compare(control, treatment)
    assert welch.statistic is not None
    assert 2 * stats.norm.sf(abs(welch.statistic)) == pytest.approx(known["revenue_z"]["pvalue"], rel=1e-8)
    variances = [float(m.covariance()[0, 0]) for m in (control, treatment)]
    df = control.n + treatment.n - 2
    pooled = ((control.n - 1) * variances[0] + (treatment.n - 1) * variances[1]) / df
    t = welch.difference / (pooled * (1 / control.n + 1 / treatment.n)) ** 0.5
    assert t == pytest.approx(known["revenue_pooled_t"]["statistic"], rel=EXACT)
    assert 2 * stats.t.sf(abs(t), df) == pytest.approx(known["revenue_pooled_t"]["pvalue"], rel=1e-8)


@pytest.mark.parametrize("pair", PAIRS)
def test_welch_non_inferiority_and_cuped_equal_statsmodels(pair: str, users: pd.DataFrame, expected: Any) -> None:
    known = expected["ab_users_statsmodels"][pair]
    control, treatment = both(users, pair, "revenue")
    result = comparison.compare(control, treatment)
    welch = known["revenue_welch"]
    assert (result.control.n, result.treatment.n) == (known["n_control"], known["n_treatment"])
    assert result.statistic == pytest.approx(welch["t"], rel=EXACT)
    assert result.p_value == pytest.approx(welch["p"], rel=EXACT)
    df = comparison.welch_df(result.control, result.treatment)
    assert df == pytest.approx(welch["df"], rel=EXACT)
    # The lower half of the reference's pair of one-sided tests is the test of non-inferiority.
    assert result.std_error is not None
    lower = non_inferiority(result.difference, result.std_error, 1.0, df=df)
    assert lower.p_value == pytest.approx(known["revenue_tost_pm1.0_unequal"]["lower"][1], rel=1e-8)
    adjusted = cuped.cuped(*both(users, pair, "revenue", None, "pre_revenue"))
    key = known["revenue_cuped"]
    assert adjusted.theta == pytest.approx(key["theta_pooled_total_cov"], rel=EXACT)
    assert adjusted.comparison.p_value == pytest.approx(key["p"], rel=1e-8)
    assert adjusted.comparison.interval[:2] == pytest.approx(key["ci95"], rel=1e-8)
    assert adjusted.variance_ratio == pytest.approx(key["variance_ratio"], rel=EXACT)


@pytest.mark.parametrize("pair", PAIRS)
def test_regression_adjustments_of_statsmodels_differ_from_cuped_by_less_than_two_percent_of_a_standard_error(
    pair: str, users: pd.DataFrame, expected: Any
) -> None:
    """ANCOVA estimates theta within arms, Lin's adjustment one per arm; CUPED takes it from the pooled rows."""
    known = expected["ab_users_statsmodels"][pair]["revenue_cuped"]
    result = cuped.cuped(*both(users, pair, "revenue", None, "pre_revenue")).comparison
    control, treatment = PAIRS[pair]
    rows = users[users.variant.isin([control, treatment])]
    t = (rows.variant == treatment).to_numpy(float)
    x = rows.pre_revenue.to_numpy() - rows.pre_revenue.mean()
    designs = {"ancova_hc2": [t, x], "lin_interacted_hc2": [t, x, t * x]}
    for name, parts in designs.items():
        fit = sm.OLS(rows.revenue.to_numpy(), sm.add_constant(np.column_stack(parts))).fit(cov_type="HC2")
        assert fit.params[1] == pytest.approx(known[name]["effect"], rel=1e-8)
        assert fit.bse[1] == pytest.approx(known[name]["se"], rel=1e-8)
        assert result.std_error is not None
        assert abs(result.difference - fit.params[1]) < 0.02 * result.std_error


@pytest.mark.parametrize("pair", PAIRS)
def test_proportions_equal_statsmodels(pair: str, expected: Any) -> None:
    known = expected["ab_users_statsmodels"][pair]["converted"]
    (b, a), (n_b, n_a) = known["successes"], known["n"]
    methods: dict[str, Any] = {
        "newcomb": "ci_diff_newcomb",
        "wald": "ci_diff_wald",
        "agresti-caffo": "ci_diff_agresti-caffo",
        "score": "ci_diff_score",
    }
    for method, key in methods.items():
        result = proportions.compare_proportions(a, n_a, b, n_b, interval_method=method)
        assert result.interval[:2] == pytest.approx(known[key], rel=1e-8), method
    assert result.statistic == pytest.approx(known["z_pooled"], rel=EXACT)
    assert result.p_value == pytest.approx(known["p_pooled"], rel=EXACT)
    assert result.p_value == pytest.approx(known["chi2_p"], rel=1e-8)
    assert [1 + (end or 0) for end in result.relative_interval[:2]] == pytest.approx(known["ci_ratio_log"], rel=EXACT)
    assert result.std_error is not None
    margin = non_inferiority(result.difference, result.std_error, 0.02)
    assert margin.p_value == pytest.approx(known["noninferiority_margin_0.02_wald"]["p"], rel=1e-8)
    # Not offered by Loopwise, one call away in statsmodels and scipy:
    wilson = sm_proportion.proportion_confint(b, n_b, method="wilson")
    assert wilson == pytest.approx(known["ci_wilson_treatment"], rel=EXACT)
    ratio = sm_proportion.confint_proportions_2indep(b, n_b, a, n_a, compare="ratio", method="score")
    assert ratio == pytest.approx(known["ci_ratio_score"], rel=1e-6)
    assert stats.fisher_exact([[b, n_b - b], [a, n_a - a]]).pvalue == pytest.approx(known["fisher_p"], rel=1e-8)


@pytest.mark.parametrize("pair", PAIRS)
def test_continuity_correction_is_why_tea_tasting_prints_larger_p_values_for_proportions(
    pair: str, expected: Any
) -> None:
    """tea-tasting corrects for continuity by default (.0476 against .0432); Loopwise, like statsmodels, does not."""
    tea = expected["ab_users_tea_tasting"]["results"][pair]
    (b, a), (n_b, n_a) = (expected["ab_users_statsmodels"][pair]["converted"][k] for k in ("successes", "n"))
    table = [[b, n_b - b], [a, n_a - a]]
    corrected = stats.chi2_contingency(table, correction=True).pvalue
    assert corrected == pytest.approx(tea["converted_pearson"]["pvalue"], rel=1e-8)
    assert corrected == pytest.approx(tea["converted_auto"]["pvalue"], rel=1e-8)
    result = proportions.compare_proportions(a, n_a, b, n_b)
    assert result.p_value is not None
    assert result.p_value < corrected
    assert result.relative_lift == pytest.approx(tea["converted_auto"]["rel_effect_size"], rel=EXACT)
    assert stats.fisher_exact(table).pvalue == pytest.approx(tea["converted_fisher"]["pvalue"], rel=1e-8)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_delta_method_for_ratios_equals_cluster_robust_regression(
    pair: str, users: pd.DataFrame, expected: Any
) -> None:
    known = expected["ab_users_statsmodels"][pair]["ctr_ratio"]
    result = comparison.compare(*both(users, pair, "clicks", "impressions"))
    assert result.control.value == pytest.approx(known["ratio_control"], rel=EXACT)
    assert result.std_error == pytest.approx(known["se_delta_ddof1"], rel=EXACT)
    ddof0 = sum(a.variance * (a.n - 1) / a.n for a in (result.control, result.treatment)) ** 0.5
    assert ddof0 == pytest.approx(known["se_wls_cluster_cr0"], rel=EXACT)
    assert result.std_error > 1.3 * known["naive_se_iid_impressions"]


@pytest.mark.parametrize("pair", PAIRS)
def test_quantiles_equal_numpy_and_their_intervals_the_bootstrap_within_its_noise(
    pair: str, users: pd.DataFrame, expected: Any
) -> None:
    """tea-tasting resamples; Woodruff's interval needs no resampling and lies within a fifth of a width of it."""
    quantiles = expected["ab_users_statsmodels"][pair]["latency_quantiles"]
    arms = [users[users.variant == v].latency_ms.to_numpy() for v in PAIRS[pair]]
    for level, key in ((0.5, "q50"), (0.9, "q90"), (0.99, "q99")):
        result = comparison.compare_quantiles(arms[0], arms[1], level)
        assert result.control.value == pytest.approx(quantiles[key]["control"], rel=EXACT)
        assert result.treatment.value == pytest.approx(quantiles[key]["treatment"], rel=EXACT)
    for level, key in ((0.5, "latency_median_boot"), (0.9, "latency_p90_boot")):
        known = expected["ab_users_tea_tasting"]["results"][pair][key]
        result = comparison.compare_quantiles(arms[0], arms[1], level)
        width = known["effect_size_ci_upper"] - known["effect_size_ci_lower"]
        ends = (known["effect_size_ci_lower"], known["effect_size_ci_upper"])
        assert result.interval[:2] == pytest.approx(ends, abs=0.2 * width)
    test = stats.mannwhitneyu(arms[1], arms[0])
    known = expected["ab_users_statsmodels"][pair]["latency_mannwhitney"]
    assert (test.statistic, test.pvalue) == pytest.approx((known["u"], known["p"]), rel=1e-6)


def test_multiple_testing_equals_statsmodels_and_tea_tasting(expected: Any) -> None:
    known = expected["ab_users_statsmodels"]["multiple"]
    for method, adjusted in known["adjusted"].items():
        if method not in ("fdr_tsbh", "fdr_tsbky"):
            assert multiplicity.adjust(known["p"], method) == pytest.approx(adjusted, rel=EXACT), method
    tea = expected["ab_users_tea_tasting"]["multiple"]
    for key, method in (("fdr_bh", "fdr_bh"), ("fdr_by", "fdr_by"), ("fwer_holm_bonf", "holm-sidak")):
        # tea-tasting's default step is Sidak's, also where its name says Bonferroni.
        raw = [row["pvalue"] for row in tea[key]]
        result = multiplicity.adjust(raw, method)  # type: ignore[arg-type]
        assert result == pytest.approx([row["pvalue_adj"] for row in tea[key]], rel=1e-8), key


def test_power_equals_statsmodels(expected: Any) -> None:
    known = expected["ab_users_statsmodels"]["power"]
    unit = planning.mean_baseline(0.0, 1.0)
    assert planning.power(unit, 0.08, 2400, 2100) == pytest.approx(known["ttest_power"]["power"], rel=EXACT)
    assert planning.sample_size(unit, 0.1).n_control == np.ceil(known["ttest_n_per_arm"]["n1"])
    rate = planning.proportion_baseline(0.14)
    assert planning.power(rate, 0.02, 3000, 3000) == pytest.approx(known["prop_2indep"]["power"], rel=EXACT)
    normal = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) ** 2 * 2 / 0.1**2
    assert normal == pytest.approx(known["normal_n_per_arm"]["n1"], rel=5e-6)


def test_detectable_effects_are_exact_where_the_solver_of_statsmodels_stops_early(expected: Any) -> None:
    """At statsmodels' own answer its power function says .799998; ours stops at .8 to 12 digits."""
    known = expected["ab_users_statsmodels"]["power"]["mde_ttest"]
    unit = planning.mean_baseline(0.0, 1.0)
    result = planning.minimum_detectable_effect(unit, 2400, 2100)
    assert planning.power(unit, result.effect, 2400, 2100) == pytest.approx(0.8, abs=1e-11)
    assert planning.power(unit, known["d"], 2400, 2100) == pytest.approx(0.8, abs=3e-6)
    assert result.effect == pytest.approx(known["d"], rel=5e-6)


def test_detectable_effects_equal_tea_tasting_for_means_cuped_and_ratios(users: pd.DataFrame, expected: Any) -> None:
    both_arms = users[users.variant.isin([0, 1])]
    columns = ("revenue", None, "pre_revenue")
    pooled = merge_moments(arm(users, 0, *columns), arm(users, 1, *columns))
    std, mean = float(pooled.covariance()[0, 0]) ** 0.5, float(pooled.mean[0])
    r = float(np.corrcoef(both_arms.revenue, both_arms.pre_revenue)[0, 1])
    ratio = merge_moments(arm(users, 0, "clicks", "impressions"), arm(users, 1, "clicks", "impressions"))
    baselines = {
        "rev": planning.mean_baseline(mean, std),
        "rev_cuped": planning.mean_baseline(mean, std, correlation=r),
        "ctr": planning.mean_baseline(
            float(ratio.mean[NUM] / ratio.mean[DEN]), comparison.linear_variance(ratio, NUM, DEN) ** 0.5
        ),
    }
    for row in expected["ab_users_tea_tasting"]["power_rel_mde"]:
        half = row["n_obs"] / 2
        result = planning.minimum_detectable_effect(baselines[row["metric"]], half, half)
        assert result.effect == pytest.approx(row["effect_size"], rel=1e-8), row
        assert result.relative_effect == pytest.approx(row["rel_effect_size"], rel=1e-8), row
