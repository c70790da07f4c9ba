"""The value of a tighter cap, against simulations in which the tighter cap really ran."""

from typing import NamedTuple

import numpy as np
import pytest

from experiments.trajectories import cap_ratios, used, value
from experiments.validation import DataError, FloatArray

DAY = 86_400.0


class Log(NamedTuple):
    """Decisions of many units, by unit and time."""

    units: FloatArray
    times: FloatArray
    said: FloatArray
    mass: FloatArray
    rewards: FloatArray


def simulate(seed: int, units: int, cap: int, days: int = 7, speak: float = 0.35) -> Log:
    """One opportunity a day. A message earns more than silence, but each one of a week makes all that follows worth less."""
    rng = np.random.default_rng(seed)
    columns = np.zeros((5, units, days))
    columns[0] = np.arange(units)[:, None]
    recent = np.zeros(units)  # a week is the whole run: nothing leaves the window
    for day in range(days):
        mass = np.where(recent < cap, speak, 0.0)
        says = rng.random(units) < mass
        mean = np.where(says, 0.7 - 0.3 * recent, np.maximum(0.3 - 0.1 * recent, 0))
        columns[1:, :, day] = day * DAY + rng.uniform(0, DAY / 2, units), says, mass, rng.random(units) < mean
        recent += says
    return Log(*(column.ravel() for column in columns))


def ratios(log: Log, limit: int):  # type: ignore[no-untyped-def]
    return cap_ratios(used(log.units, log.times, log.said, 7 * DAY), log.said, log.mass, limit=limit)


def evaluated(log: Log, limit: int):  # type: ignore[no-untyped-def]
    found = ratios(log, limit)
    return value(log.units, log.times, found.ratios, log.rewards, touched=int(found.reached.sum()))


def truth(cap: int) -> float:
    return float(simulate(99, 1_000_000, cap).rewards.sum() / 1_000_000)


def test_two_a_week_instead_of_three_is_answered_within_its_interval() -> None:
    expected = truth(2)
    assert expected - truth(3) > 0.02  # there is something to find
    missed = 0
    for seed in range(200):
        found = evaluated(simulate(seed, 800, 3), 2)
        low, high = found.interval
        missed += not low <= expected <= high
        assert found.trusted
    assert missed <= 18  # 10 expected of 200; more than 18 has a chance of .5%


def test_the_paired_difference_is_narrower_and_covers_too() -> None:
    expected = truth(2) - truth(3)
    missed, narrower = 0, 0
    for seed in range(200):
        found = evaluated(simulate(1000 + seed, 800, 3), 2)
        low, high = found.difference_interval
        missed += not low <= expected <= high
        narrower += high - low < found.interval[1] - found.interval[0]
    assert missed <= 18 and narrower == 200


def test_weighing_each_decision_alone_would_be_wrong() -> None:
    """The naive answer, a decision's own ratio only, keeps the past of the looser cap and misses by many intervals."""
    log = simulate(5, 60_000, 3)
    found = ratios(log, 1)
    naive = float((found.ratios * log.rewards).sum() / 60_000)
    right = evaluated(log, 1)
    assert right.interval[0] <= truth(1) <= right.interval[1]
    assert abs(naive - truth(1)) > 3 * (right.interval[1] - right.interval[0])


def test_the_same_cap_is_worth_what_was_logged() -> None:
    log = simulate(1, 200, 3)
    found = evaluated(log, 3)
    assert found.value == pytest.approx(found.logged) and found.difference == pytest.approx(0)
    assert found.effective_units == pytest.approx(200) and found.touched >= 0
    assert found.difference_interval == pytest.approx((0, 0))


def test_messages_are_counted_within_the_rolling_window_and_the_unit() -> None:
    units = np.array([1, 1, 1, 1, 2, 2])
    times = np.array([0.0, 5.0, 10.0, 15.0, 0.0, 1.0])
    said = np.array([True, True, False, True, True, False])
    assert used(units, times, said, 10.0).tolist() == [0, 1, 1, 0, 0, 1]  # at 10 the message at 0 has just left


def test_where_the_log_is_never_silent_it_cannot_answer() -> None:
    log = simulate(3, 50, 3, speak=1.0)
    with pytest.raises(DataError, match="says something with certainty"):
        ratios(log, 2)


def test_rows_must_be_in_order() -> None:
    with pytest.raises(DataError, match="not in order at row 1"):
        value([1, 1], [2.0, 1.0], [1, 1], [0, 0])
