"""Health checks: bets are exactly fair, ramps raise no alarm, lost exposures do."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import coverage
from experiments.logs import choices, health
from experiments.multiplicity import adjust
from experiments.validation import DataError


def log(n: int, seed: int, lost: float = 0.0, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """n logged choices of a drifting policy; a share `lost` of arm 0's exposures is missing."""
    rng = np.random.default_rng(seed)
    drift = np.linspace(0, step, n)[:, None] * np.array([1.0, -1.0, 0.0])
    p = np.clip(rng.dirichlet([6, 9, 5], n) + drift, 0.02, None)
    p /= p.sum(axis=1, keepdims=True)
    a = (rng.random((n, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
    keep = (a != 0) | (rng.random(n) >= lost)
    return a[keep], p[keep]


def test_every_bet_is_fair_under_any_probabilities() -> None:
    p = np.random.default_rng(0).dirichlet([1, 1, 1, 1])
    bets = np.stack([choices.choice_sums([a], p[None, :]).log_bets for a in range(4)])
    assert np.einsum("a,akt->kt", p, np.exp(bets)) == pytest.approx(np.ones((4, len(choices.TILTS))), rel=1e-12)


def test_the_statistic_is_the_textbook_chi_square_when_probabilities_are_constant() -> None:
    counts = np.array([480, 320, 200])
    p = np.array([0.5, 0.3, 0.2])
    a = np.repeat([0, 1, 2], counts)
    result = choices.choice_balance(choices.choice_sums(a, np.tile(p, (1000, 1))))
    known = health.sample_ratio(counts, p)
    assert (result.chi2, result.df) == (pytest.approx(known.chi2, rel=1e-9), 2)
    assert result.p_value == pytest.approx(known.p_value, rel=1e-9)


def test_ramps_and_reweighting_raise_no_alarm() -> None:
    for seed in range(20):
        result = choices.choice_balance(choices.choice_sums(*log(20_000, seed, step=0.25)))
        assert not result.alert


def test_the_check_finds_three_percent_of_lost_exposures_in_one_arm() -> None:
    result = choices.choice_balance(choices.choice_sums(*log(300_000, 1, lost=0.03)))
    assert result.alert
    assert result.anytime_p_value < 0.01
    assert (result.p_value or 1) < 0.001
    assert result.arms[0].ratio == pytest.approx(0.98, abs=0.008)
    assert result.arms[0].z is not None
    assert result.arms[0].z < -5
    assert (result.arms[1].ratio or 0) > 1


def test_the_check_finds_a_broken_group_among_sound_groups() -> None:
    a, p = log(30_000, 2)
    broken, q = log(60_000, 3, lost=0.15)
    sums = [choices.choice_sums(a[::2], p[::2]), choices.choice_sums(a[1::2], p[1::2]), choices.choice_sums(broken, q)]
    assert [balance.alert for balance in choices.balance_by_group(sums)] == [False, False, True]


def test_the_p_values_of_several_groups_are_corrected_for_their_number() -> None:
    sums = [choices.choice_sums(*log(2_000, seed)) for seed in range(30)]
    alone = [choices.choice_balance(group) for group in sums]
    together = choices.balance_by_group(sums)
    assert [b.p_value for b in together] == pytest.approx(adjust([b.p_value for b in alone]))
    assert [b.anytime_p_value for b in together] == pytest.approx([min(1, 30 * b.anytime_p_value) for b in alone])
    odd = choices.choice_sums(np.repeat([0, 1], [5210, 4790]), np.full((10_000, 2), 0.5))
    assert choices.balance_by_group([odd])[0].alert
    assert not choices.balance_by_group([odd, *sums])[0].alert


def test_choices_without_randomness_have_no_p_value_and_impossible_ones_are_refused() -> None:
    result = choices.choice_balance(choices.choice_sums([0, 0], [[1.0, 0.0], [1.0, 0.0]]))
    assert result.p_value is None
    assert not result.alert
    assert result.arms[1].ratio is None
    with pytest.raises(DataError, match="had probability 0 at row 1"):
        choices.choice_sums([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(DataError, match=r"sums to 0\.9"):
        choices.choice_sums([0], [[0.5, 0.4]])
    with pytest.raises(DataError, match="chosen arm is 2"):
        choices.choice_sums([2], [[0.5, 0.5]])


def test_sums_of_float32_distributions_do_not_drift_into_an_alarm() -> None:
    a, p = log(200_000, 5)
    result = choices.choice_balance(choices.choice_sums(a, p.astype(np.float32) * np.float32(1 + 4e-6)))
    assert not result.alert


def test_the_sequential_check_multiplies_over_stretches_of_constant_shares() -> None:
    ramp = health.sequential_sample_ratio([[900, 100], [500, 500]], [[0.9, 0.1], [0.5, 0.5]], concentrations=[100])
    parts = [
        health.sequential_sample_ratio([c], s, concentrations=[100]).log_bayes_factor[0]
        for c, s in (([900, 100], [0.9, 0.1]), ([500, 500], [0.5, 0.5]))
    ]
    assert ramp.log_bayes_factor[-1] == pytest.approx(sum(parts), rel=1e-12)
    wrong = health.sequential_sample_ratio([[900, 100], [500, 500]], [0.5, 0.5], concentrations=[100])
    assert wrong.alert
    assert not ramp.alert


def test_an_arm_without_a_share_that_holds_units_is_refused() -> None:
    with pytest.raises(DataError, match="share 0 holds 3 units"):
        health.sample_ratio([5000, 5000, 3], [1, 1, 0])
    assert not health.sample_ratio([5000, 5000, 0], [1, 1, 0]).alert


def test_missing_rewards_alert_when_arms_differ_and_not_when_all_miss_alike() -> None:
    uneven = health.missing_rewards([10_000, 10_000], [9_900, 9_600])
    assert uneven.alert
    assert uneven.rate == pytest.approx((0.01, 0.04))
    assert uneven.interval[0].covers(0.01)
    assert not health.missing_rewards([10_000, 10_000], [9_800, 9_790]).alert
    nothing = health.missing_rewards([10, 0], [10, 0])
    assert nothing.p_value is None
    assert nothing.interval[1].note
    with pytest.raises(DataError, match="more rewarded decisions"):
        health.missing_rewards([5], [6])


def test_concentration_counts_equally_frequent_actions() -> None:
    even = health.concentration([10, 10, 10, 10])
    assert (even.top_share, even.effective_number, even.gini) == pytest.approx((0.25, 4.0, 0.0))
    single = health.concentration([0, 0, 0, 40])
    assert (single.top_share, single.effective_number, single.gini) == pytest.approx((1.0, 1.0, 0.75))


@pytest.mark.slow
def test_false_alarms_stay_rare_over_clean_runs_with_ramps_among_them() -> None:
    """The small twin of benchmarks/coverage.py; naive peeking shows that false alarms are possible."""
    result = coverage.false_alarms(30)
    naive = result.pop("difference, fixed p < 0.05 at every look (not valid)")
    # A group-sequential plan spends all of its 5%, the others less: 30 runs allow 14%.
    assert all(share <= 0.14 for share in result.values()), result
    assert naive > 0.15


def test_the_check_finds_lost_exposures_while_looking_at_every_batch() -> None:
    assert coverage.lost_exposures(4) == 1.0
