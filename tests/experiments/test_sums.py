"""Sums merge: any split of the rows gives the same report."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import sequences, sums
from experiments.arms import comparison, cuped
from experiments.logs import choices
from experiments.off_policy import estimators, intervals, value_sequence
from experiments.policy_reports import report
from experiments.policy_reports.report_lines import Settings
from experiments.sums import Thresholds
from experiments.validation import DataError

THRESHOLDS = Thresholds(5.0, 4.0, 30.0)


def make_rows(seed: int, n: int = 400) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    # A reward far from 0 would destroy digits if raw squares were subtracted.
    r = 100 + rng.normal(size=n)
    q = 100 + 0.3 * rng.normal(size=n)
    return rng.gamma(2, 0.5, n), r, q, q + 0.1 * rng.normal(size=n)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 399), max_size=6))
def test_any_split_gives_the_same_estimates_to_nine_digits(seed: int, cuts: list[int]) -> None:
    rows = make_rows(seed)
    edges = [0, *sorted(set(cuts)), 400]
    parts = [sums.policy_sums(*(c[a:b] for c in rows), THRESHOLDS) for a, b in pairwise(edges)]
    whole, merged = sums.policy_sums(*rows, THRESHOLDS), reduce(sums.merge, reversed(parts))
    assert merged[1:] == whole[1:]
    known, result = (sums.finish(s.moments, with_model=True) for s in (whole, merged))
    assert result.keys() == known.keys()
    for name in known:
        assert result[name].value == pytest.approx(known[name].value, rel=1e-9, abs=1e-9), name
        assert result[name].std_error == pytest.approx(known[name].std_error, rel=1e-9), name


def test_cressie_read_from_merged_sums_equals_that_from_arrays(synthetic: Any) -> None:
    w, r, q, v = synthetic[:4]
    known = intervals.cressie_read(intervals.weight_sums(w, r), (0, 1), 42.0)
    parts = [sums.policy_sums(w[i::3], r[i::3], q[i::3], v[i::3], THRESHOLDS) for i in range(3)]
    result = intervals.cressie_read(intervals.weight_sums_of(reduce(sums.merge, parts).moments), (0, 1), 42.0)
    assert result[:2] == pytest.approx(known[:2], rel=1e-9)


def test_a_report_from_sums_equals_the_report_from_rows_except_where_rows_are_needed(synthetic: Any) -> None:
    w, r, q, v, p, e = synthetic
    assumptions = report.Assumptions(max_weight=42.0, reward_range=(0, 1), clip=5, switch_tau=4, shrinkage_lambda=30)
    whole = report.evaluate_rows(p, e, r, model=report.ModelColumns(q, v), assumptions=assumptions)
    half = len(w) // 2
    parts = [sums.policy_sums(w[c], r[c], q[c], v[c], THRESHOLDS) for c in (slice(None, half), slice(half, None))]
    state = sequences.advance(sequences.START, w[:half], r[:half], (0, 1))
    state = sequences.advance(state, w[half:], r[half:], (0, 1))
    possible = np.full(len(w), 42.0)
    values = value_sequence.advance(value_sequence.START, w[:half], r[:half], possible[:half], (0, 1))
    values = value_sequence.advance(values, w[half:], r[half:], possible[half:], (0, 1))
    setting = Settings(0.05, 42.0, (0.0, 1.0), True, THRESHOLDS)
    result = report.report_from_sums(sums.merge(*parts), setting, with_model=True, sequence=state, values=values)
    assert result.verdict == whole.verdict
    for name, line in whole.estimators.items():
        for method, interval in line.intervals.items():
            other = result.estimators[name].intervals[method]
            if method == "empirical_likelihood" and name in ("ips", "snips"):
                assert "needs the rows" in other.reason
            elif interval.exists:
                assert other[:2] == pytest.approx(interval[:2], rel=1e-9), (name, method)
            else:
                assert not other.exists
                assert other.reason == interval.reason


def test_unit_sums_merge_when_no_unit_is_split() -> None:
    w, r, q, v = make_rows(3)
    unit = np.arange(400) // 7
    cut = 210
    whole = sums.unit_moments(w, r, (q, v), THRESHOLDS, unit)
    parts = [
        sums.unit_moments(w[c], r[c], (q[c], v[c]), THRESHOLDS, unit[c] - unit[c].min())
        for c in (slice(0, cut), slice(cut, 400))
    ]
    merged = sums.merge_moments(*parts)
    for name, known in sums.finish(whole, with_model=True).items():
        result = sums.finish(merged, with_model=True)[name]
        assert (result.value, result.std_error) == pytest.approx((known.value, known.std_error), rel=1e-9), name


def test_clustered_errors_equal_those_of_summed_influence_values() -> None:
    w, r, q, v = make_rows(4)
    unit = np.random.default_rng(1).integers(0, 60, 400)
    unit = np.unique(unit, return_inverse=True)[1]
    result = sums.finish(sums.unit_moments(w, r, (q, v), THRESHOLDS, unit), with_model=True)
    for estimate in (
        estimators.ips(w, r),
        estimators.snips(w, r),
        estimators.dr(w, r, q, v),
        estimators.sndr(w, r, q, v),
    ):
        assert result[estimate.name].value == pytest.approx(estimate.value, rel=1e-9)
        known = intervals.standard_error(estimate.influence, unit)
        assert result[estimate.name].std_error == pytest.approx(known, rel=1e-9), estimate.name


def test_sums_with_different_thresholds_do_not_merge() -> None:
    rows = make_rows(5)
    other = sums.policy_sums(*rows, THRESHOLDS._replace(clip=6.0))
    with pytest.raises(DataError, match="different thresholds"):
        sums.merge(sums.policy_sums(*rows, THRESHOLDS), other)


def test_arms_of_an_ab_test_merge_for_means_ratios_and_cuped() -> None:
    rng = np.random.default_rng(0)
    y, d, x, e = (
        rng.poisson(5, 500) + 1.0,
        rng.poisson(9, 500) + 1.0,
        rng.poisson(5, 500) + 1.0,
        rng.poisson(9, 500) + 1.0,
    )
    whole = [comparison.arm_moments(y[i::2], d[i::2], x[i::2], e[i::2]) for i in (0, 1)]
    merged = [
        sums.merge_moments(
            comparison.arm_moments(y[i:200:2], d[i:200:2], x[i:200:2], e[i:200:2]),
            comparison.arm_moments(y[200 + i :: 2], d[200 + i :: 2], x[200 + i :: 2], e[200 + i :: 2]),
        )
        for i in (0, 1)
    ]
    assert cuped.cuped(*merged).comparison.p_value == pytest.approx(cuped.cuped(*whole).comparison.p_value, rel=1e-9)
    assert comparison.compare(*merged).std_error == pytest.approx(comparison.compare(*whole).std_error, rel=1e-9)


def test_choice_sums_and_sequence_states_do_not_depend_on_the_split(synthetic: Any) -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 2, 3], 300)
    a = np.array([rng.choice(3, p=row) for row in p])
    whole = choices.choice_balance(choices.choice_sums(a, p))
    merged = choices.choice_balance(
        choices.merge_choices(choices.choice_sums(a[:90], p[:90]), choices.choice_sums(a[90:], p[90:]))
    )
    assert merged.chi2 == pytest.approx(whole.chi2, rel=1e-9)
    assert merged.log_evidence == pytest.approx(whole.log_evidence, rel=1e-9)
    state = sequences.START
    for cut in np.split(np.arange(20_000), [1, 17, 9000]):
        state = sequences.advance(state, synthetic.w[cut], synthetic.r[cut], (0, 1))
    assert state == pytest.approx(sequences.advance(sequences.START, synthetic.w, synthetic.r, (0, 1)), rel=1e-9)
