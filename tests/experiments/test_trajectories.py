"""The value of a tighter cap, against simulations in which the tighter cap really ran."""

import numpy as np
import pytest

from benchmarks.caps import DAY, Log, evaluated, ragged, ratios, simulate, truth
from experiments.off_policy.trajectories import used, value
from experiments.validation import DataError

pytestmark = pytest.mark.slow


def test_the_interval_for_two_messages_a_week_instead_of_three_covers_the_truth() -> None:
    expected = truth(2)
    assert expected - truth(3) > 0.02  # there is something to find
    missed = 0
    for seed in range(200):
        result = evaluated(simulate(seed, 800, 3), 2)
        low, high = result.interval
        missed += not low <= expected <= high
        assert result.trusted
    assert missed <= 18  # 10 expected of 200; more than 18 has a chance of .5%


def test_the_paired_difference_is_narrower_and_covers_too() -> None:
    expected = truth(2) - truth(3)
    missed, narrower = 0, 0
    for seed in range(200):
        result = evaluated(simulate(1000 + seed, 800, 3), 2)
        low, high = result.difference_interval
        missed += not low <= expected <= high
        narrower += high - low < result.interval[1] - result.interval[0]
    assert missed <= 18
    assert narrower == 200


def test_few_units_and_large_weights_make_the_interval_wider_not_wrong() -> None:
    expected = truth(2, speak=0.5)
    missed, effective = 0, 0.0
    for seed in range(200):
        result = evaluated(simulate(2000 + seed, 200, 3, speak=0.5), 2)
        missed += not result.interval[0] <= expected <= result.interval[1]
        effective += result.effective_units / 200
    assert missed <= 18
    assert effective < 20


def test_units_may_have_different_numbers_of_decisions_and_rare_steps_are_merged() -> None:
    everybody = ragged(simulate(99, 1_000_000, 2), 7)
    expected = float(everybody.rewards.sum() / 1_000_000)
    missed = 0
    for seed in range(200):
        result = evaluated(ragged(simulate(3000 + seed, 800, 3), seed), 2)
        missed += not result.interval[0] <= expected <= result.interval[1]
    assert missed <= 18


def test_a_unit_with_many_more_decisions_does_not_spoil_the_answer() -> None:
    log = simulate(4, 800, 3)
    busy = np.full(40, 800.0), 8 * DAY + np.arange(40.0), np.ones(40), np.full(40, 0.35), np.ones(40)
    with_one = Log(*(np.concatenate(pair) for pair in zip(log, busy, strict=True)))
    result = evaluated(with_one, 2)  # its past fits the rule no more after two messages
    assert result.trusted
    assert result.units == 801
    assert abs(result.value - evaluated(log, 2).value) < 0.2


def test_weights_of_single_decisions_would_be_wrong() -> None:
    """The naive answer uses only the ratio of each decision, keeps the past of the looser cap, and misses by many intervals."""
    log = simulate(5, 60_000, 3)
    result = ratios(log, 1)
    naive = float((result.ratios * log.rewards).sum() / 60_000)
    right = evaluated(log, 1)
    assert right.interval[0] <= truth(1) <= right.interval[1]
    assert abs(naive - truth(1)) > 3 * (right.interval[1] - right.interval[0])


def test_the_value_of_the_same_cap_is_the_logged_value() -> None:
    log = simulate(1, 200, 3)
    result = evaluated(log, 3)
    assert result.value == pytest.approx(result.logged)
    assert result.difference == pytest.approx(0)
    assert result.effective_units == pytest.approx(200)
    assert result.touched >= 0
    assert result.difference_interval == pytest.approx((0, 0))


def test_messages_are_counted_within_the_rolling_window_and_the_unit() -> None:
    units = np.array([1, 1, 1, 1, 2, 2])
    times = np.array([0.0, 5.0, 10.0, 15.0, 0.0, 1.0])
    said = np.array([True, True, False, True, True, False])
    assert used(units, times, said, 10.0).tolist() == [0, 1, 1, 0, 0, 1]  # at 10 the message at 0 has just left


def test_a_log_that_is_never_silent_cannot_answer() -> None:
    log = simulate(3, 50, 3, speak=1.0)
    with pytest.raises(DataError, match="a message is certain"):
        ratios(log, 2)


def test_rows_must_be_in_order() -> None:
    with pytest.raises(DataError, match="not in order at row 1"):
        value([1, 1], [2.0, 1.0], [1, 1], [0, 0])


def test_a_past_that_is_too_long_for_its_weight_is_refused() -> None:
    with pytest.raises(DataError, match="too long"):
        value(np.repeat([1.0, 2.0], 2000), np.tile(np.arange(2000.0), 2), np.full(4000, 2.0), np.ones(4000))
