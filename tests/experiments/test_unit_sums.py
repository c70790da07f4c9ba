"""Intervals of units that return: identities, few units, rare rewards, and a small twin of `benchmarks.unit_coverage`."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from benchmarks import unit_coverage
from experiments.off_policy import intervals, unit_sums, verdict
from experiments.off_policy.unit_sums import UnitSums
from experiments.policy_reports import report

UNIT = (0.0, 1.0)


def test_with_equal_weights_the_interval_is_students_up_to_the_jackknife_factor() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0.4, 0.1, 400)
    sums = UnitSums(x, np.ones(400))
    low, high, *_ = unit_sums.one_look(sums, unit_sums.UNBOUNDED)
    assert low is not None
    assert high is not None
    assert unit_sums.standard_error(sums) == pytest.approx(intervals.standard_error(x), rel=1e-12)
    freedom = unit_sums.degrees_of_freedom(sums)
    assert freedom is not None
    half = float(stats.t.isf(0.025, freedom)) * intervals.standard_error(x)
    assert (low + high) / 2 == pytest.approx(x.mean(), abs=1e-9)
    assert (high - low) / 2 == pytest.approx(half, rel=0.02)


def test_the_ends_are_the_values_that_the_score_just_rejects() -> None:
    rng = np.random.default_rng(1)
    weight = np.floor(5 * (1 + rng.pareto(4, 60)))
    amount = weight * rng.beta(2, 6, 60)
    sums = UnitSums(amount, weight)
    freedom, interval = unit_sums.degrees_of_freedom(sums), unit_sums.one_look(sums, UNIT)
    assert freedom is not None
    for end in interval[:2]:
        z = amount - end * weight
        score = abs(z.sum()) / np.sqrt(((z / (1 - weight / weight.sum())) ** 2).sum())
        assert score == pytest.approx(float(stats.t.isf(0.025, freedom)), rel=1e-9)


def test_rows_that_repeat_within_their_unit_change_nothing() -> None:
    rng = np.random.default_rng(2)
    w, r, unit = rng.uniform(0.5, 1.5, 90), rng.random(90), np.arange(90) % 30
    once = unit_sums.unit_sums(w * r, w, unit)
    twice = unit_sums.unit_sums(np.tile(w * r, 2), np.tile(w, 2), np.tile(unit, 2))
    assert unit_sums.one_look(twice, UNIT)[:2] == pytest.approx(unit_sums.one_look(once, UNIT)[:2], rel=1e-12)
    assert unit_sums.kish(twice.weight) == pytest.approx(unit_sums.kish(once.weight))


def test_the_sequence_is_wider_than_the_look_and_shut_before_enough_units_have_rewards() -> None:
    rng = np.random.default_rng(3)
    sums = UnitSums(rng.binomial(20, 0.3, 100).astype(float), np.full(100, 20.0))
    assert unit_sums.shut(sums, UNIT) == ""
    look, sequence = unit_sums.one_look(sums, UNIT), unit_sums.always_valid(sums, UNIT)
    assert (sequence.low or 0) < (look.low or 0) < 0.3 < (look.high or 0) < (sequence.high or 0)
    few = UnitSums(np.r_[np.ones(9), np.zeros(91)], np.full(100, 20.0))
    assert "units with rewards" in unit_sums.shut(few, UNIT)
    assert "15 effective units" in unit_sums.shut(UnitSums(few.weight - few.amount, few.weight), UNIT)
    assert "10 effective units, has 8.0" in unit_sums.shut(UnitSums(np.ones(8), np.full(8, 9.0)), UNIT)


def test_units_that_tell_nothing_exclude_nothing() -> None:
    alike = UnitSums(np.full(50, 0.5), np.ones(50))
    assert unit_sums.one_look(alike, UNIT)[:2] == UNIT
    assert unit_sums.one_look(alike, UNIT).note == unit_sums.NO_DIFFERENCE
    assert not unit_sums.one_look(alike, unit_sums.UNBOUNDED).exists
    two = UnitSums(np.array([1.0, 2.0]), np.array([4.0, 4.0]))
    assert unit_sums.one_look(two, UNIT)[:2] == UNIT
    for nothing in (UnitSums(np.ones(1), np.ones(1)), UnitSums(np.zeros(3), np.zeros(3))):
        assert not unit_sums.one_look(nothing, UNIT).exists
        assert not unit_sums.always_valid(nothing, UNIT).exists
        assert unit_sums.standard_error(nothing) is None


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_units_without_any_reward_or_shortfall_bound_the_share_of_other_units(reward: float) -> None:
    """The exact binomial bound: with 50 units, a share of 1 - .025^(1/50) of others stays unseen in 2.5% of logs."""
    found = unit_sums.one_look(UnitSums(np.full(50, 3 * reward), np.full(50, 3.0)), UNIT)
    reach = 1 - 0.025 ** (1 / 50)
    assert (1 - reach) ** 50 == pytest.approx(0.025)
    assert found[:2] == pytest.approx((1 - reach, 1.0) if reward else (0.0, reach))


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_interval_covers_with_few_units_and_rare_rewards(rate: float) -> None:
    """Of 150 runs, at least 135 cover with a chance of 99.6% when the interval really covers 95% of the time."""
    found = unit_coverage.score(50, 1.5, rate, 150)
    assert found["unit_sums"] >= 0.9
    assert found["missed"] <= 0.08
    assert found["normal"] < found["unit_sums"]


def clustered(units: int, rows: int, rate: float, heavy: int = 0) -> report.OffPolicyReport:
    """A report of `units` units with `rows` rows each, the first with `heavy` more."""
    rng = np.random.default_rng(4)
    unit = np.r_[np.repeat(np.arange(units), rows), np.zeros(heavy, dtype=int)]
    n = len(unit)
    chosen = rng.random(n) < 0.5
    r = (rng.random(n) < rate).astype(float)
    assumptions = report.Assumptions(max_weight=1.4, reward_range=UNIT)
    return report.evaluate_rows(np.full(n, 0.5), np.where(chosen, 0.7, 0.3), r, unit=unit, assumptions=assumptions)


def test_few_units_are_not_identified_whatever_their_rows() -> None:
    few, dominated = clustered(8, 500, 0.3), clustered(100, 5, 0.3, heavy=5000)
    for found, size in ((few, 8.0), (dominated, 1.2)):
        assert [reason.code for reason in found.verdict.reasons] == ["effective_units"]
        assert found.verdict.status is verdict.Status.NOT_IDENTIFIED
        assert found.effective_units == pytest.approx(size, abs=0.05)
        assert "does not identify" in found.lift.intervals["unit_sums"].reason


def test_units_that_return_with_rare_rewards_have_both_intervals() -> None:
    found = clustered(300, 20, 0.01)
    assert [reason.code for reason in found.verdict.reasons] == ["rare_rewards"]
    lead = found.headline
    assert (lead.estimator, lead.one_look_method) == ("snips", "unit_sums")
    assert lead.one_look.covers(0.01)
    assert lead.always_valid.covers(0.01)
    assert (lead.always_valid.high or inf) < 0.05
    assert found.lift.intervals["unit_sums"].covers(0.0)


def test_a_difference_of_two_sets_of_units_is_welchs_for_equal_weights() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(0.6, 0.2, 300), rng.normal(0.5, 0.1, 200)
    found = unit_sums.independent_difference(unit_sums.mean_sums(x, None), unit_sums.mean_sums(y, None))
    known = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert found[:2] == pytest.approx((known.low, known.high), rel=0.01)
    same = UnitSums(np.ones(5), np.ones(5))
    assert unit_sums.independent_difference(same, same).reason == unit_sums.NO_DIFFERENCE
    assert "independent unit" in unit_sums.independent_difference(same, UnitSums(np.ones(1), np.ones(1))).reason
