"""Adaptive and sample-ratio numbers of reference/expected.json, through the pure functions."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.logs import health
from experiments.off_policy import adaptive

EXACT = 1e-9


def test_sample_ratio_equals_statsmodels_and_tea_tasting(expected: Any) -> None:
    for day in ("daily_ok", "daily_bad"):
        known = expected["srm_daily_statsmodels"][day]
        result = health.sample_ratio(known["observed"], known["expected"])
        assert (result.chi2, result.p_value) == pytest.approx((known["chi2"], known["p"]), rel=EXACT)
    assert health.sample_ratio([17047, 17806], [1, 1]).alert


def test_sample_ratio_differs_from_tea_tasting_by_its_continuity_correction_only(expected: Any) -> None:
    """tea-tasting corrects two arms for continuity; statsmodels and Loopwise do not. No alert changes."""
    tea = expected["ab_users_tea_tasting"]["results"]["0_vs_1"]
    for key, shares in (("srm_equal", (0.5, 0.5)), ("srm_design", (0.4, 0.35))):
        counts = np.array([tea[key]["control"], tea[key]["treatment"]], dtype=float)
        result = health.sample_ratio(counts, shares)
        n, p = counts.sum(), shares[0] / sum(shares)
        corrected = (abs(counts[0] - n * p) - 0.5) ** 2 / (n * p * (1 - p))
        assert stats.chi2.sf(corrected, 1) == pytest.approx(tea[key]["pvalue"], rel=EXACT)
        assert result.p_value == pytest.approx(tea[key]["pvalue"], rel=0.07)
        assert result.alert == (tea[key]["pvalue"] < health.ALERT_BELOW)


@pytest.mark.parametrize("kind", ["ok", "bad"])
def test_sequential_sample_ratio_equals_the_closed_form_and_the_packages(
    kind: str, reference: Any, expected: Any
) -> None:
    """ssrm-test sums floats and is within 1e-8; savvi prints 1 / odds above 1, which is no p-value; ours stop at 1."""
    days = pd.read_csv(reference / "srm_daily.csv")
    known = expected["srm_daily_sequential"][f"srm_daily_{kind}"]
    counts = days[[f"{kind}_control", f"{kind}_treatment"]]
    for k in (100, 10_000):
        result = health.sequential_sample_ratio(counts, [0.5, 0.5], concentrations=[k])
        assert result.log_bayes_factor == pytest.approx(np.array(known[f"closed_form_log_bf_k{k}"]), abs=1e-9)
        assert result.p_value == pytest.approx(np.array(known[f"closed_form_p_k{k}"]), rel=1e-9)
    assert result.p_value == pytest.approx(np.array(known["ssrm_test_concentration_10000_p"]), rel=1e-7)
    odds = np.exp(result.log_bayes_factor[-1])
    assert odds / (1 + odds) == pytest.approx(known["ssrm_test_posterior_probability_final"], rel=1e-7)
    savvi = health.sequential_sample_ratio(counts, [0.5, 0.5], concentrations=[100])
    assert np.exp(-savvi.log_bayes_factor) == pytest.approx(np.array(known["savvi_k100_1_over_odds"]), rel=1e-6)
    assert savvi.p_value.max() <= 1
    assert result.alert == (kind == "bad")


def test_adaptively_weighted_values_and_contrasts_equal_the_authors_code(reference: Any, expected: Any) -> None:
    d = pd.read_csv(reference / "adaptive_mab_signal.csv")
    known = expected["adaptive_mab_signal"]
    e, r, a = d[["e0", "e1", "e2"]].to_numpy(), d.reward.to_numpy(float), d.arm.to_numpy()
    scores = adaptive.arm_scores(r, a, e, adaptive.running_means(r, a, 3))
    cases = {
        "aipw_uniform": (scores, np.ones_like(e)),
        "aipw_propscore_e": (scores, e),
        "aipw_stablevar_sqrt_e": (scores, np.sqrt(e)),
        "aipw_two_point": (scores, adaptive.two_point_weights(e, known["floor_decay_alpha"])),
        "ipw_uniform": (adaptive.arm_scores(r, a, e), np.ones_like(e)),
    }
    for name, (g, h) in cases.items():
        values = adaptive.arm_values(g, h)
        assert [v.value for v in values] == pytest.approx(known["arm_values"][name]["estimate"], rel=EXACT), name
        assert [v.std_error for v in values] == pytest.approx(known["arm_values"][name]["stderr"], rel=EXACT), name
        half = [(v.interval[1] or inf) - (v.value or inf) for v in values]
        assert half == pytest.approx(known["arm_values"][name]["ci_radius"], rel=EXACT), name
        if name in known["contrasts_last_minus_each"]:
            gaps = [adaptive.contrast(g, h, (2, other)) for other in (0, 1)]
            key = known["contrasts_last_minus_each"][name]
            assert [v.value for v in gaps] == pytest.approx(key["estimate"], rel=1e-9), name
            assert [v.std_error for v in gaps] == pytest.approx(key["stderr"], rel=EXACT), name


def test_raw_means_of_a_bandits_arms_are_in_the_reference_but_not_in_the_package(reference: Any, expected: Any) -> None:
    """They are biased on adaptive logs; the reference shows them for contrast."""
    d = pd.read_csv(reference / "adaptive_mab_signal.csv")
    known = expected["adaptive_mab_signal"]["arm_values"]["sample_mean_naive"]
    result = d.groupby("arm").reward.agg(["mean", "count"])
    assert result["mean"].to_list() == pytest.approx(known["estimate"], rel=EXACT)
    assert result["count"].to_list() == expected["adaptive_mab_signal"]["pulls"]
