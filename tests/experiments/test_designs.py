"""Group-sequential bounds, planning, adaptive weights, folds, verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.coverage_adaptive import actions, arms
from experiments.arms import group_sequential
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.strata import Level, compare_strata
from experiments.designs import bandit_planning, planning
from experiments.off_policy import adaptive, estimators, folds, intervals, verdict
from experiments.policy_reports import report
from experiments.sums import Moments
from experiments.validation import DataError

pytestmark = pytest.mark.slow


def test_bounds_equal_the_published_table_of_lan_and_demets() -> None:
    """Two-sided alpha .05, five equal looks: O'Brien-Fleming-type spending."""
    result = group_sequential.bounds([0.2, 0.4, 0.6, 0.8, 1.0])
    assert result.z == pytest.approx((4.877, 3.357, 2.680, 2.290, 2.031), abs=6e-4)
    linear = group_sequential.bounds([0.2, 0.4, 0.6, 0.8, 1.0], spending="power", power=1)
    assert linear.z == pytest.approx((2.576, 2.492, 2.411, 2.339, 2.276), abs=6e-4)
    assert result.spent[-1] == pytest.approx(0.05)


def test_bounds_spend_exactly_alpha_under_simulated_looks() -> None:
    times = [0.1, 0.35, 0.5, 1.0]
    bounds = group_sequential.bounds(times, spending="power", power=2)
    steps = np.sqrt(np.diff([0.0, *times]))
    score = np.cumsum(np.random.default_rng(0).normal(size=(200_000, 4)) * steps, axis=1)
    crossed = np.abs(score / np.sqrt(times)) >= bounds.z
    result = np.maximum.accumulate(crossed, axis=1).mean(axis=0)
    assert result == pytest.approx(bounds.spent, abs=0.002)


def test_a_look_rejects_exactly_when_its_repeated_interval_excludes_zero() -> None:
    for difference in (0.1, 0.29, 0.31, 0.6):
        result = group_sequential.look(difference, 0.1, [0.3, 0.7])
        assert result.reject == (not result.interval.covers(0.0))
    early = group_sequential.look(0.1, 0.01, [0.001])
    assert not early.reject
    assert early.interval.reason
    with pytest.raises(DataError, match="ascend"):
        group_sequential.bounds([0.5, 0.4])


def test_planned_power_is_reached_in_simulation_with_and_without_cuped() -> None:
    rng = np.random.default_rng(1)
    baseline = planning.mean_baseline(10.0, 3.0, correlation=0.6)
    plan = planning.sample_size(baseline, 0.4, units_per_day=100)
    assert plan.power == pytest.approx(0.8, abs=0.002)
    assert plan.days == -(-2 * plan.n_control // 100)
    plain = planning.sample_size(planning.mean_baseline(10.0, 3.0), 0.4)
    assert plan.n_control / plain.n_control == pytest.approx(1 - 0.36, abs=0.01)
    x = rng.normal(size=(3000, 2, plan.n_control))
    y = 3 * (0.6 * x + 0.8 * rng.normal(size=x.shape))
    adjusted = y - 1.8 * x
    adjusted[:, 1] += 0.4
    gap = adjusted[:, 1].mean(axis=1) - adjusted[:, 0].mean(axis=1)
    z = gap / np.sqrt(adjusted.var(axis=2, ddof=1).sum(axis=1) / plan.n_control)
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_every_metric_type_has_a_baseline_and_effect_and_size_are_inverse() -> None:
    for baseline in (
        planning.mean_baseline(1.0, 2.0),
        planning.proportion_baseline(0.2),
        planning.count_baseline(3.0, dispersion=2.5),
    ):
        effect = planning.minimum_detectable_effect(baseline, 5000, 5000).effect
        assert planning.sample_size(baseline, effect).n_control == pytest.approx(5000, abs=1), baseline.kind
    with pytest.raises(DataError, match="std is 0"):
        planning.mean_baseline(1.0, 0.0)
    with pytest.raises(DataError, match="effect is 0"):
        planning.sample_size(planning.mean_baseline(1, 1), 0.0)


def test_bandit_plans_repeat_with_their_seed_and_learning_beats_uniform() -> None:
    design = bandit_planning.Design(3000, 100, "thompson", 0.3)
    plan = bandit_planning.simulate([0.3, 0.3, 0.45], design, seed=5, runs=60)
    assert plan == bandit_planning.simulate([0.3, 0.3, 0.45], design, seed=5, runs=60)
    assert plan.best_share > 0.5
    assert plan.mean_reward > plan.uniform_reward
    assert plan.power > 0.8
    null = bandit_planning.simulate([0.3, 0.3], design._replace(policy="epsilon_greedy"), seed=6, runs=200)
    assert null.power < 0.08
    assert null.coverage > 0.9
    with pytest.raises(DataError, match="floor"):
        bandit_planning.simulate([0.3, 0.4], design._replace(floor=0.0), seed=1)


def test_baselines_from_a_log_correct_for_its_probabilities() -> None:
    rng = np.random.default_rng(3)
    p = rng.choice([0.1, 0.8], 40_000)
    a = (rng.random(40_000) > p).astype(int)
    r = np.where(a == 0, np.where(p < 0.5, 1.0, 0.0), 0.5)
    result = bandit_planning.arm_baselines(a, np.where(a == 0, p, 1 - p), r, 3)
    assert result[0].mean == pytest.approx(0.5, abs=0.03)
    assert result[2].mean is None
    assert r[a == 0].mean() < 0.2


def test_running_means_exclude_the_round_itself() -> None:
    means = adaptive.running_means([1.0, 0.0, 1.0, 1.0], [0, 0, 1, 0], 2)
    assert means.tolist() == [[0, 0], [1, 0], [0.5, 0], [0.5, 1]]


def test_earlier_means_know_only_rows_before_and_begin_at_the_mean_of_all_actions() -> None:
    means = folds.earlier_means([1.0, 0.0, 1.0], ["a", "b", "a"], [["a", "b"], ["a", "b"], ["a", "b", "c"]])
    assert means == [[0.0, 0.0], [1.0, 1.0], [(1 + 0.5) / 2, (0 + 0.5) / 2, 0.5]]
    with pytest.raises(DataError, match="different lengths"):
        folds.earlier_means([1.0], ["a"], [])


def test_dr_with_earlier_means_in_its_first_fold_is_nearly_as_narrow_as_snips() -> None:
    """Rewards near .9, where a first fold that is predicted as 0 costs DR half as much width again."""
    rng, n, names = np.random.default_rng(6), 4000, ["a", "b", "c"]
    mean, logged, target = np.array([0.9, 0.85, 0.95]), np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
    a = rng.choice(3, n, p=logged)
    r, w = (rng.random(n) < mean[a]).astype(float), (target / logged)[a]
    means = np.array(folds.earlier_means(list(r), [names[i] for i in a], [names] * n))
    first = folds.forward_folds(n, 4)[0]
    blank = means.copy()
    blank[first] = 0.0
    errors = {
        name: intervals.standard_error(estimators.dr(w, r, table[np.arange(n), a], table @ target).influence)
        for name, table in (("means", means), ("zero", blank))
    }
    snips = intervals.standard_error(estimators.snips(w, r).influence)
    assert errors["zero"] > 1.4 * snips
    assert errors["means"] < 1.1 * snips


def test_forward_folds_cover_every_row_once_in_time_order() -> None:
    cut = folds.forward_folds(23, 4)
    assert [row for fold in cut for row in range(fold.start, fold.stop)] == list(range(23))
    assert {fold.stop - fold.start for fold in cut} == {5, 6}
    assert folds.forward_folds(3, 5) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    with pytest.raises(DataError, match="at least one row and two folds"):
        folds.forward_folds(10, 1)


def test_constant_weights_reduce_to_the_plain_mean() -> None:
    g = np.random.default_rng(5).normal(size=50)
    plain = adaptive.weighted_value(g, np.ones(50))
    assert plain.value == pytest.approx(g.mean())
    assert plain.std_error == pytest.approx(g.std() / 50**0.5)
    assert adaptive.weighted_value(g, np.zeros(50)).interval.reason


def test_the_interval_of_an_arm_notes_that_few_rounds_support_it() -> None:
    rng = np.random.default_rng(12)
    e = np.full(2000, 0.002)
    scores = np.where(rng.random(2000) < e, 1 / e, 0.0)
    assert "lasting exploration floor" in adaptive.weighted_value(scores, np.ones(2000)).interval.note
    assert not adaptive.weighted_value(rng.normal(size=2000), np.ones(2000)).interval.note


SOUND = verdict.Diagnostics(10_000, 1.01, 0.01, 3000.0, 20.0, 0.0, 0.5, 800.0)


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"mean_weight": 1.04}, "mean_weight", "not_identified"),
        ({"mean_weight": 1.04, "mean_weight_error": 0.0}, "mean_weight_constant", "not_identified"),
        ({"effective_sample_size": 99.0}, "effective_sample_size", "not_identified"),
        ({"rows": 100_000, "effective_sample_size": 499.0}, "effective_sample_size", "not_identified"),
        ({"max_weight": 600.0}, "row_dominance", "not_identified"),
        ({"unsupported_mass": 0.02}, "unsupported", "not_identified"),
        ({"disagreement": 3.1}, "estimator_disagreement", "warning"),
        ({"effective_rewards": 74.0}, "rare_rewards", "warning"),
        ({"rows": 1000, "possible_weight": 13.4}, "unseen_weights", "warning"),
    ],
)
def test_each_failing_number_is_named_with_its_limit(change: dict[str, float], code: str, status: str) -> None:
    result = verdict.judge(SOUND._replace(**change))  # type: ignore[arg-type]
    assert [reason.code for reason in result.reasons] == [code]
    assert result.status == status
    assert result.identified == (status == "warning")


def test_a_sound_log_has_no_reasons_and_unknown_numbers_do_not_count_against_it() -> None:
    assert verdict.judge(SOUND) == (verdict.Status.IDENTIFIED, ())
    unknown = SOUND._replace(unsupported_mass=None, disagreement=None, effective_rewards=None)
    assert verdict.judge(unknown).status == "identified"
    assert verdict.unsupported_mass([0.6, 0.3, 0.1], [10, 5, 0]) == pytest.approx(0.1)


def test_wrong_propensities_are_caught_by_the_mean_weight() -> None:
    rng = np.random.default_rng(8)
    p = rng.uniform(0.2, 0.8, 5000)
    chosen = rng.random(5000) < p
    own, target = np.where(chosen, p, 1 - p), np.where(chosen, 0.7, 0.3)
    r = rng.integers(0, 2, 5000)
    assert report.evaluate_rows(own, target, r).verdict.status == "identified"
    broken = report.evaluate_rows(np.minimum(own * 1.2, 1), target, r)
    assert [reason.code for reason in broken.verdict.reasons] == ["mean_weight"]


@pytest.mark.parametrize("policy", ["fixed", "thompson"])
def test_intervals_cover_in_a_small_simulation_on_fixed_and_adaptive_logs(policy: str) -> None:
    """The small twin of benchmarks/coverage.py: 150 runs, so that 95% has a standard error of 1.8 points."""
    result = coverage.off_policy(0.1, policy, 150, seed=9, rows=3000)
    for name in ("ips normal", "snips normal", "dr normal", "sndr normal", "ips empirical_likelihood"):
        assert 0.89 <= result.coverage(name) <= 1.0, name
    for name in (
        "ips cressie_read",
        "ips empirical_bernstein",
        "confidence_sequence, every batch",
        "dr asymptotic_sequence, every batch",
        "betting, every row",
    ):
        assert result.coverage(name) >= 0.93, name
    assert result.coverage("ips normal, every batch (not valid)") < 0.88


def test_values_of_actions_cover_where_the_learner_reads_a_context_and_weights_by_row_do_not() -> None:
    result = actions(2000, 0.2, 0.0, 150)
    for name in ("action 0", "action 1", "action 2", "action 2 - action 0"):
        assert result.coverage(f"by stretch, {name}") >= 0.89, name
    assert result.coverage("by row (not valid), action 2") <= 0.2


def test_an_action_that_came_late_is_valued_where_it_could_be_chosen() -> None:
    random = np.random.default_rng(4)
    logged = np.repeat([[1.0, 0.0], [0.5, 0.5]], 1000, axis=0)
    chosen = (random.random(2000) > logged[:, 0]).astype(np.int64)
    reward = (random.random(2000) < np.where(chosen == 1, 0.7, 0.3)).astype(float)
    old, new = adaptive.action_values(reward, chosen, logged)
    assert old.value.interval.covers(0.3) and new.value.interval.covers(0.7)
    assert new.minus_first is not None and new.minus_first.interval.covers(0.4)


def test_adaptive_weights_cover_in_a_small_simulation_where_unweighted_ones_need_not() -> None:
    result = arms("thompson", 200)
    for name in ("StableVar, best - worst", "two-point, best - worst", "two-point, arm 2"):
        assert result.coverage(name) >= 0.89, name


@pytest.mark.parametrize(("rate", "effect", "tuned_at"), [(0.1, 0.05, 5000.0), (0.1, 0.05, None), (0.4, 0.1, 5000.0)])
def test_a_plan_has_the_power_that_it_states_when_the_page_is_read_at_every_look(
    rate: float, effect: float, tuned_at: float | None
) -> None:
    """The plan and the results page run one sequence; 200 experiments are looked at 20 times each."""
    test = planning.Test(at_every_look=True, tuned_at=tuned_at)
    plan = planning.sample_size(planning.proportion_baseline(rate), effect, test=test)
    n, rng = plan.n_control, np.random.default_rng(1)
    looks = np.linspace(n / 20, n, 20).astype(int)
    shown = 0
    for _ in range(200):
        wins = (rng.random((2, n)) < np.array([[rate], [rate + effect]])).cumsum(axis=1)
        shown += any(_rejects(wins[:, look - 1], look, tuned_at or 2 * n) for look in looks)
    assert plan.power >= 0.8
    assert 0.76 <= shown / 200 <= 0.94


def _rejects(wins: Any, n: int, tuned_at: float) -> bool:
    rates = [float(count) / n for count in wins]
    cells = [ArmCell(Moments(n, np.array([p, 1.0]), np.diag([p * (1 - p) * n, 0.0])), p) for p in rates]
    found = compare_strata([Stratum(*cells)], level=Level(tuned_at=tuned_at), value_range=(0.0, 1.0))
    return found.always_valid.p_value is not None and found.always_valid.p_value < 0.05
