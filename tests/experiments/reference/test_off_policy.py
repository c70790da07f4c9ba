"""Off-policy numbers of reference/expected.json, through the pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments import sequences
from experiments.off_policy import estimators, intervals, likelihood
from experiments.policy_reports import report, report_lines
from experiments.sums import Thresholds, finish, policy_sums

EXACT = 1e-9
KNOWN_WEIGHT = {
    "syn_binary": 41.02721937689551,
    "obd_rows_men_random_to_bts": 10.68858,
    "obd_rows_men_bts_to_random": 178.2531194295897,
}


def make(log: Any) -> dict[str, estimators.Estimate]:
    w, r, q, v = log.w, log.r, log.q, log.v
    return {
        "ips": estimators.ips(w, r),
        "ips_clip10": estimators.clipped_ips(w, r, 10),
        "snips": estimators.snips(w, r),
        "dm": estimators.dm(v),
        "dr": estimators.dr(w, r, q, v),
        "sndr": estimators.sndr(w, r, q, v),
        "switch_dr_1": estimators.switch_dr(w, r, q, v, 1),
        "switch_dr_10": estimators.switch_dr(w, r, q, v, 10),
        "dros_1": estimators.dr_os(w, r, q, v, 1),
        "dros_100": estimators.dr_os(w, r, q, v, 100),
    }


def test_every_point_estimate_equals_the_open_bandit_pipeline(synthetic: Any, expected: Any) -> None:
    for name, result in make(synthetic).items():
        assert result.value == pytest.approx(expected["syn_binary"]["obp"][name]["value"], rel=EXACT), name


def test_standard_errors_and_normal_intervals_of_plain_means_equal_the_open_bandit_pipeline(
    synthetic: Any, expected: Any
) -> None:
    for name, result in make(synthetic).items():
        if name in ("snips", "sndr"):
            continue
        known = expected["syn_binary"]["obp"][name]
        error = intervals.standard_error(result.influence)
        assert error == pytest.approx(known["se_round"], rel=EXACT), name
        assert intervals.normal(result.value, error)[:2] == pytest.approx(known["normal_ci"], rel=EXACT), name


def test_self_normalised_errors_use_the_delta_method_where_the_open_bandit_pipeline_freezes_the_denominator(
    synthetic: Any, expected: Any
) -> None:
    """obp resamples rows w r / mean(w) with the denominator held fixed; its error is nearly twice too large here."""
    known = expected["syn_binary"]
    for name in ("snips", "sndr"):
        result = make(synthetic)[name]
        error = intervals.standard_error(result.influence)
        assert error == pytest.approx(known["closed_form"][name]["se"], rel=EXACT)
        assert intervals.normal(result.value, error)[:2] == pytest.approx(known["closed_form"][name]["ci"], rel=EXACT)
    rows = synthetic.w * synthetic.r / synthetic.w.mean()
    frozen = float(rows.std(ddof=1)) / len(rows) ** 0.5
    assert frozen == pytest.approx(known["obp"]["snips"]["se_round"], rel=EXACT)
    assert frozen > 1.8 * known["closed_form"]["snips"]["se"]
    frozen_dr = synthetic.v + synthetic.w * (synthetic.r - synthetic.q) / synthetic.w.mean()
    assert frozen_dr.std(ddof=1) / len(rows) ** 0.5 == pytest.approx(known["obp"]["sndr"]["se_round"], rel=EXACT)


def test_the_delta_method_agrees_with_a_pairs_bootstrap(synthetic: Any, expected: Any) -> None:
    known = expected["syn_binary"]["closed_form"]["snips"]
    result = estimators.snips(synthetic.w, synthetic.r)
    error = intervals.standard_error(result.influence)
    interval = intervals.normal(result.value, error)
    assert interval[:2] == pytest.approx(known["pairs_bootstrap_ci_B2000"], abs=0.11 * error)


def test_bootstrap_intervals_of_obp_agree_with_normal_intervals_within_their_noise(
    synthetic: Any, expected: Any
) -> None:
    for name, result in make(synthetic).items():
        known = expected["syn_binary"]["obp"][name]
        if "obp_bootstrap_ci" not in known:
            continue
        error = known["se_round"]
        assert intervals.normal(result.value, error)[:2] == pytest.approx(known["obp_bootstrap_ci"], abs=0.11 * error)
        assert result.value == pytest.approx(known["obp_bootstrap_mean"], abs=0.11 * error)


def test_empirical_bernstein_reproduces_the_reference_when_given_the_same_bound(synthetic: Any, expected: Any) -> None:
    """The reference takes the largest row seen as the bound; a report takes the declared largest possible weight."""
    known = expected["syn_binary"]["closed_form"]
    result = estimators.ips(synthetic.w, synthetic.r)
    sd, n = float(np.std(result.influence, ddof=1)), len(synthetic.w)
    largest = float((synthetic.w * synthetic.r).max())
    interval = intervals.empirical_bernstein(result.value, sd, n, largest)
    assert interval[:2] == pytest.approx(known["ips"]["emp_bernstein_maurer_pontil_two_sided_b=max"], rel=EXACT)
    wider = intervals.empirical_bernstein(result.value, sd, n, KNOWN_WEIGHT["syn_binary"])
    assert wider[0] is not None
    assert interval[0] is not None
    assert wider[0] < interval[0]


def test_one_sided_bounds_of_the_open_bandit_pipeline_follow_from_the_same_rows(synthetic: Any, expected: Any) -> None:
    """obp's Bernstein bound takes the sample maximum and ddof 0; its t bound is the plain one."""
    known, rows = expected["syn_binary"]["closed_form"], synthetic.w * synthetic.r
    n, tail = len(rows), np.log(2 / 0.05)
    bernstein = 7 * rows.max() * tail / (3 * (n - 1)) + np.sqrt(2 * rows.var() * tail / (n - 1))
    assert rows.mean() - bernstein == pytest.approx(known["obp_bernstein_lower_delta0.05"], rel=1e-6)
    student = rows.mean() - stats.t.isf(0.05, n - 1) * rows.std(ddof=1) / n**0.5
    assert student == pytest.approx(known["obp_student_t_lower_delta0.05"], rel=1e-6)


def test_cressie_read_with_unbounded_weights_equals_vw_estimators(synthetic: Any, expected: Any) -> None:
    known = expected["syn_binary"]["vw_estimators"]
    sums = intervals.weight_sums(synthetic.w, synthetic.r)
    assert intervals.cressie_read(sums, (0, 1))[:2] == pytest.approx(
        known["interval_alpha0.05"]["cressieread"], rel=EXACT
    )


@pytest.mark.parametrize("name", KNOWN_WEIGHT)
def test_intervals_and_points_with_the_known_largest_weight_equal_vw_estimators(
    name: str, logs: Any, expected: Any
) -> None:
    log, known, wmax = logs[name], expected[name]["vw_known_wmax"], KNOWN_WEIGHT[name]
    sums = intervals.weight_sums(log.w, log.r)
    interval = known["interval_alpha0.05"]
    assert intervals.cressie_read(sums, (0, 1), wmax)[:2] == pytest.approx(interval["cressieread"], rel=EXACT)
    plain = estimators.ips(log.w, log.r)
    gaussian = intervals.normal(plain.value, intervals.standard_error(plain.influence))
    assert gaussian[:2] == pytest.approx(interval["gaussian"], rel=EXACT)
    assert plain.value == pytest.approx(known["point"]["ips"], rel=EXACT)
    assert estimators.snips(log.w, log.r).value == pytest.approx(known["point"]["snips"], rel=EXACT)


@pytest.mark.parametrize("name", KNOWN_WEIGHT)
def test_the_confidence_sequence_without_the_cap_equals_vw_estimators_and_nearly_so_with_it(
    name: str, logs: Any, expected: Any
) -> None:
    """vw-estimators lets its running prediction exceed 1, which the supermartingale proof does not allow."""
    log = logs[name]
    known = expected[name]["vw_known_wmax"]["interval_alpha0.05"]["cs"]
    result = {}
    for cap in (False, True):
        state = sequences.advance(sequences.START, log.w, log.r, (0, 1), cap=cap)
        result[cap] = sequences.gamma_exponential(state, (0, 1))[:2]
    assert result[False] == pytest.approx(known, rel=1e-6)
    assert result[True] == pytest.approx(known, rel=2e-4)
    assert result[True] != pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize("name", KNOWN_WEIGHT)
def test_clopper_pearson_of_vw_estimators_is_known_but_not_offered(name: str, logs: Any, expected: Any) -> None:
    """It treats sum(w r) / max(w) as successes: 75% coverage at high reward rates, NaN beyond n, so it is left out."""
    log, known = logs[name], expected[name]["vw_known_wmax"]["interval_alpha0.05"]["clopper_pearson"]
    heaviest = log.w.max()
    k, n = (log.w * log.r).sum() / heaviest, len(log.w) / heaviest
    low, high = stats.beta.ppf(0.025, k, n - k + 1), stats.beta.ppf(0.975, k + 1, n - k)
    assert (low, high) == pytest.approx(known, rel=1e-6)
    assert "clopper_pearson" not in report_lines.INTERVALS


@pytest.mark.parametrize(
    ("key", "name", "rows"),
    [("syn_binary_first3000", "syn_binary", 3000), ("obd_men_random_to_bts", "obd_rows_men_random_to_bts", 10_000)],
)
def test_empirical_likelihood_equals_the_authors_code(key: str, name: str, rows: int, logs: Any, expected: Any) -> None:
    known, log = expected["empirical_likelihood"][key], logs[name]
    w, r = log.w[:rows], log.r[:rows]
    assert likelihood.empirical_likelihood(w, r, (0, 1), known["wmax"])[:2] == pytest.approx(known["el_ci95"], rel=1e-5)
    sums = intervals.weight_sums(w, r)
    result = intervals.cressie_read(sums, (0, 1), known["wmax"])
    assert result[:2] == pytest.approx(known["cressieread_minus2_ci95"], rel=EXACT)


def test_diagnostics_equal_the_reference(synthetic: Any, expected: Any) -> None:
    known = expected["syn_binary"]["diagnostics"]
    result = report.evaluate_rows(synthetic.propensity, synthetic.target, synthetic.r)
    assert result.rows == known["n"]
    assert result.mean_weight == pytest.approx(known["w_mean"], rel=EXACT)
    assert result.max_weight == pytest.approx(known["w_max"], rel=EXACT)
    assert result.effective_sample_size == pytest.approx(known["ess_kish"], rel=EXACT)
    assert result.effective_sample_size / result.rows == pytest.approx(known["ess_frac"], rel=EXACT)
    # The reference divides by the ddof-0 deviation.
    assert result.weight_z == pytest.approx(known["z_mean_weight"], rel=1e-4)
    assert result.verdict.status == "identified"


def test_intervals_cover_the_simulated_truth(synthetic: Any, expected: Any) -> None:
    truth = expected["syn_binary"]["truth"]["population"]
    log = synthetic
    result = report.evaluate_rows(
        log.propensity,
        log.target,
        log.r,
        model=report.ModelColumns(log.q, log.v),
        assumptions=report.Assumptions(max_weight=42.0, reward_range=(0, 1)),
    )
    for name in ("ips", "snips", "dr", "sndr"):
        for method, interval in result.estimators[name].intervals.items():
            assert not interval.exists or interval.covers(truth), (name, method)
    assert not result.estimators["dm"].intervals["normal"].exists


def test_sums_give_the_same_values_and_errors_as_influence_values(synthetic: Any) -> None:
    w, r, q, v = synthetic[:4]
    total = policy_sums(w, r, q, v, Thresholds(10, 10, 100))
    result = finish(total.moments, with_model=True)
    arrays = {
        "ips": estimators.ips(w, r),
        "clipped_ips": estimators.clipped_ips(w, r, 10),
        "snips": estimators.snips(w, r),
        "dm": estimators.dm(v),
        "dr": estimators.dr(w, r, q, v),
        "sndr": estimators.sndr(w, r, q, v),
        "switch_dr": estimators.switch_dr(w, r, q, v, 10),
        "dr_os": estimators.dr_os(w, r, q, v, 100),
        "lift": estimators.difference(estimators.ips(w, r), estimators.logged_value(r)),
        "dr_lift": estimators.difference(estimators.dr(w, r, q, v), estimators.logged_value(r)),
        "dr_minus_snips": estimators.difference(estimators.dr(w, r, q, v), estimators.snips(w, r)),
    }
    for name, known in arrays.items():
        assert result[name].value == pytest.approx(known.value, rel=1e-10), name
        assert result[name].std_error == pytest.approx(intervals.standard_error(known.influence), rel=EXACT), name
