"""The always-valid interval of a value against its formulas, written down a second time row by row, with every edge."""

from math import exp, inf, log

import numpy as np
import pytest
from scipy import optimize

from experiments.off_policy import value_sequence
from experiments.off_policy.value_sequence import START, ValueState
from experiments.validation import DataError

STAKES = [2.0**power for power in range(-13, 3)]
BELLS = [exp(-0.5 * (log(stake / 0.06) / 1.5) ** 2) + 0.02 for stake in STAKES]
UNIT = (0.0, 1.0)
Rows = list[tuple[float, float, float]]  # weight, reward scaled to [0, 1], largest possible weight


def _bets(rows: Rows, stake: float, mirrored: bool) -> float:
    """ln of the bet of one stake without its term -s (sum of V), in a loop over rows."""
    total, weight, weighted = 0.0, 0.0, 0.0
    for w, reward, possible in rows:
        mean = (weighted + 0.5) / (weight + 1.0)
        x = 1 - reward if mirrored else reward
        mean = 1 - mean if mirrored else mean
        predicted = min(mean, 0.75 / stake)
        centre = min(mean, (0.75 / stake - predicted) / max(possible - 1.0, 1e-12))
        total += log(1 + stake * (w * (x - centre) + centre - predicted)) + stake * predicted
        weight, weighted = weight + w, weighted + w * reward
    return total


def _capital(rows: Rows, mean: float, mirrored: bool) -> float:
    shares = [bell / sum(BELLS) for bell in BELLS]
    return sum(
        share * exp(_bets(rows, stake, mirrored) - stake * len(rows) * mean)
        for share, stake in zip(shares, STAKES, strict=True)
    )


def _rows(seed: int, n: int = 60, heavy: float = 4.0) -> Rows:
    rng = np.random.default_rng(seed)
    light = 0.5
    w = np.where(rng.random(n) < (1 - light) / (heavy - light), heavy, light)
    return [(float(weight), float(reward), heavy) for weight, reward in zip(w, rng.beta(2, 2, n), strict=True)]


def _state(rows: Rows, reward_range: tuple[float, float] = UNIT) -> ValueState:
    low, high = reward_range
    w, r, possible = (np.array(column) for column in zip(*rows, strict=True))
    return value_sequence.advance(START, w, low + r * (high - low), possible, reward_range)


@pytest.mark.parametrize("heavy", [1.0, 4.0, 60.0])
def test_the_state_holds_the_sums_and_the_bets_of_each_stake(heavy: float) -> None:
    rows = _rows(1, heavy=heavy) if heavy > 2 else [(0.5, reward, heavy) for _, reward, _ in _rows(1)]
    state = _state(rows)
    assert state.rows == 60
    assert state[1:3] == pytest.approx([sum(w for w, *_ in rows), sum(w * r for w, r, _ in rows)])
    for index, stake in enumerate(STAKES):
        assert state.low[index] == pytest.approx(_bets(rows, stake, mirrored=False), rel=1e-9, abs=1e-12)
        assert state.high[index] == pytest.approx(_bets(rows, stake, mirrored=True), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("reward_range", [UNIT, (-2.0, 6.0)])
def test_the_ends_are_where_the_mixed_capital_reaches_two_over_alpha(
    reward_range: tuple[float, float], alpha: float
) -> None:
    rows = _rows(2, 200)
    low, high = reward_range
    ends = [
        optimize.brentq(
            lambda mean, mirrored=mirrored: log(_capital(rows, mean, mirrored)) - log(2 / alpha), 0, 1, xtol=1e-13
        )
        for mirrored in (False, True)
    ]
    expected = low + ends[0] * (high - low), low + (1 - ends[1]) * (high - low)
    state = _state(rows, reward_range)
    made = value_sequence.interval(state, reward_range, alpha)
    assert made[:2] == pytest.approx(expected, rel=1e-9)
    if alpha == 0.05:
        assert value_sequence.interval(state, reward_range) == made
    inside, outside = [], []
    for end, sign in zip(expected, (1, -1), strict=True):
        inside.append(value_sequence.excludes(state, end + sign * 1e-6, reward_range, alpha))
        outside.append(value_sequence.excludes(state, end - sign * 1e-6, reward_range, alpha))
    assert (inside, outside) == ([False, False], [True, True])
    assert value_sequence.excludes(state, expected[0], reward_range) is value_sequence.excludes(
        state, expected[0], reward_range, 0.05
    )


def test_few_rows_leave_the_whole_range_and_impossible_ones_contradict() -> None:
    few = value_sequence.interval(_state(_rows(3, 2)), (-1.0, 3.0))
    assert few[:2] == (-1.0, 3.0)
    wrong = _state([(3.0, 0.5, 3.0)] * 4000)  # true weights have mean 1: both sides win
    assert "the two sides contradict each other" in value_sequence.interval(wrong, UNIT).reason
    one_sided = _state([(3.0, 1.0, 3.0)] * 4000)
    assert value_sequence.interval(one_sided, UNIT)[:2] == (1.0, 1.0), "more than the range allows is its end"


def test_no_rows_exclude_nothing() -> None:
    assert value_sequence.interval(START, UNIT).reason == "no rows yet"
    assert not value_sequence.excludes(START, 0.5, UNIT, 0.99)
    assert value_sequence.interval(_state(_rows(4, 1)), UNIT).exists


def test_chunks_are_small_enough_for_memory_and_carry_the_state() -> None:
    assert value_sequence.CHUNK_ROWS == 16_384
    n = value_sequence.CHUNK_ROWS + 2
    rng = np.random.default_rng(5)
    w, r, possible = rng.choice([0.5, 1.5], n), rng.random(n), np.full(n, 1.5)
    at_once = value_sequence.advance(START, w, r, possible, UNIT)
    parts = value_sequence.advance(START, w[:-1], r[:-1], possible[:-1], UNIT)
    parts = value_sequence.advance(parts, w[-1:], r[-1:], possible[-1:], UNIT)
    assert at_once.rows == n
    assert at_once.low == pytest.approx(parts.low, rel=1e-12)


def test_weights_may_pass_the_largest_by_rounding_only() -> None:
    one = np.ones(1)
    value_sequence.advance(START, 2.0 * (1 + 9e-10) * one, one, 2.0 * one, UNIT)
    value_sequence.advance(START, 2.0 * (1 + 1e-9) * one, one, 2.0 * one, UNIT)  # exactly at the tolerance
    for over in (2e-9, 0.5):
        with pytest.raises(DataError, match=r"importance weight is .* exceeds the largest that the row could have"):
            value_sequence.advance(START, 2.0 * (1 + over) * one, one, 2.0 * one, UNIT)
    value_sequence.advance(START, 1e6 * one, one, inf * one, UNIT)


def test_a_wrong_alpha_is_named() -> None:
    state = _state(_rows(6))
    for wrong in (
        lambda: value_sequence.interval(state, UNIT, 1.5),
        lambda: value_sequence.excludes(state, 0.5, UNIT, 1.5),
    ):
        with pytest.raises(DataError, match=r"^alpha is 1\.5"):
            wrong()
