"""Groups of a field's values, and how much predictions lean on a feature."""

import numpy as np
import pytest

from experiments.logs.cuts import cut
from experiments.logs.importance import explained, importance, within
from experiments.validation import DataError


def test_frequent_values_stay_and_the_rest_is_other() -> None:
    values = ["a"] * 5 + ["b"] * 3 + ["c", "d", None, True, {"x": [1]}, ""]
    found = cut(values, most=2)
    assert found.names == ["a", "b", "(other)", "(none)"] and found.edges == []
    assert found.codes.tolist() == [0] * 5 + [1] * 3 + [2, 2, 3, 2, 2, 2]
    assert cut([True, 2, {"x": [1]}, "", None]).names == ['""', "2", "true", '{"x": [1]}', "(none)"]


def test_few_numbers_are_values_and_many_are_cut_at_quartiles() -> None:
    assert cut([1, 2.5, 1, 2.5, 3]).names == ["1", "2.5", "3"]
    values = [*range(1, 101), None]
    found = cut(values)
    assert found.edges == [25.0, 50.0, 75.0]
    assert found.names == ["up to 25", "over 25, up to 50", "over 50, up to 75", "over 75", "(none)"]
    assert np.bincount(found.codes).tolist() == [25, 25, 25, 25, 1]


def test_numbers_that_pile_up_have_fewer_bins_and_each_holds_what_its_name_says() -> None:
    values = [0] * 90 + list(range(1, 11))
    found = cut(values)
    assert found.names == ["up to 0", "over 0"] and np.bincount(found.codes).tolist() == [90, 10]
    top = cut([*range(10), *[10] * 90])
    assert np.bincount(top.codes).sum() == 100 and len(top.names) == len(set(top.codes.tolist()))


def test_numbers_among_texts_are_texts() -> None:
    assert cut([*range(20), "x"], most=3).names == ["0", "1", "10", "(other)"]
    with pytest.raises(DataError, match="no values"):
        cut([])


def test_a_permutation_stays_within_its_part_and_is_the_same_each_time() -> None:
    part = np.repeat([0, 1], [30, 50])
    taken = within(part, 5)
    assert sorted(taken[:30]) == list(range(30)) and sorted(taken[30:]) == list(range(30, 80))
    assert (taken != np.arange(80)).sum() > 60 and (within(part, 5) == taken).all()
    with pytest.raises(DataError, match="no rows"):
        within(part[:0], 5)


def test_the_importance_is_the_rise_of_the_squared_error() -> None:
    random = np.random.default_rng(2)
    signal = random.normal(size=2000)
    rewards, taken = signal + random.normal(size=2000), within(np.zeros(2000), 1)
    found = importance(rewards, signal, signal[taken], np.arange(2000) // 2)
    assert found.increase == pytest.approx(np.mean((rewards - signal[taken]) ** 2 - (rewards - signal) ** 2))
    assert found.interval.covers(2.0) and not found.interval.covers(0.0)  # E (x - x')^2 = 2 var(x)
    assert found.p_value is not None and found.p_value < 1e-6
    assert explained(rewards, signal) == pytest.approx(0.5, abs=0.05)
    assert explained(np.ones(3), np.ones(3)) is None


def test_a_feature_of_noise_is_seldom_important() -> None:
    alarms = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        mood = random.normal(size=100)[np.arange(400) // 4]
        noise = 0.1 * random.normal(size=400)
        found = importance(
            mood + random.normal(size=400), noise, noise[within(np.zeros(400), seed)], np.arange(400) // 4
        )
        alarms.append(found.p_value is not None and found.p_value <= 0.05)
    assert np.mean(alarms) <= 0.05


def test_few_units_have_no_interval_and_an_unused_feature_none_of_the_error() -> None:
    few = importance(np.arange(40.0), np.zeros(40), np.ones(40), np.arange(40) % 10)
    assert (few.interval.reason, few.p_value) == ("10 effective units, 20 wanted", None)
    unused = importance(np.arange(40.0), np.ones(40), np.ones(40), np.arange(40))
    assert (unused.increase, unused.p_value) == (0.0, None) and unused.interval.covers(0.0)
