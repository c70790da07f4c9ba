"""The always-valid interval of a value: a fair game in exact arithmetic, and a small twin of `benchmarks.sequences`."""

from itertools import product
from math import exp, inf

import numpy as np
import pytest

from benchmarks import sequences as benchmark
from benchmarks.sequence_worlds import WORLDS
from experiments.off_policy import value_sequence
from experiments.validation import DataError

UNIT = (0.0, 1.0)


@pytest.mark.parametrize("heavy", [1.5, 8.0, 60.0])
@pytest.mark.parametrize("means", [(0.5,) * 5, (0.02, 0.9, 0.02, 0.9, 0.5), (1.0,) * 5])
def test_expected_capital_at_the_running_values_is_at_most_one(heavy: float, means: tuple[float, ...]) -> None:
    """Exact expectation over all logs of five rows whose value drifts; the heavy weight is the largest possible one."""
    light = 0.25
    chance = (1 - light) / (heavy - light)
    total = {"low": 0.0, "high": 0.0}
    for draws in product(((heavy, chance), (light, 1 - chance)), (0.0, 1.0), repeat=5):
        weights, rewards = draws[0::2], draws[1::2]
        probability = float(
            np.prod([p * (m if r else 1 - m) for (_, p), r, m in zip(weights, rewards, means, strict=True)])
        )
        w = np.array([weight for weight, _ in weights])
        state = value_sequence.advance(value_sequence.START, w, np.array(rewards), np.full(5, heavy), UNIT)
        for side, bets, mean in (("low", state.low, np.mean(means)), ("high", state.high, 1 - np.mean(means))):
            capital = value_sequence.LOG_PRIOR + bets - value_sequence.STAKES * (5 * mean)
            total[side] += probability * exp(float(np.logaddexp.reduce(capital)))
    assert max(total.values()) <= 1 + 1e-9


def test_the_prior_of_stakes_sums_to_one() -> None:
    assert float(np.exp(value_sequence.LOG_PRIOR).sum()) == pytest.approx(1.0)


def test_chunks_and_the_unit_of_rewards_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    w, r = rng.choice([0.3, 1.7], 3000), rng.random(3000)
    possible = np.full(3000, 1.7)
    at_once = value_sequence.advance(value_sequence.START, w, r, possible, UNIT)
    state = value_sequence.START
    for start in range(0, 3000, 700):
        cut = slice(start, start + 700)
        state = value_sequence.advance(state, w[cut], r[cut], possible[cut], UNIT)
    plain, parts = value_sequence.interval(at_once, UNIT), value_sequence.interval(state, UNIT)
    assert parts[:2] == pytest.approx(plain[:2], rel=1e-12)
    moved = value_sequence.advance(value_sequence.START, w, 4 * r - 1, possible, (-1, 3))
    assert value_sequence.interval(moved, (-1, 3))[:2] == pytest.approx([4 * (x or 0) - 1 for x in plain[:2]], rel=1e-9)
    mirrored = value_sequence.interval(value_sequence.advance(value_sequence.START, w, 1 - r, possible, UNIT), UNIT)
    assert mirrored[:2] == pytest.approx([1 - (plain[1] or 0), 1 - (plain[0] or 0)], rel=1e-9)


def test_excludes_agrees_with_the_ends_of_the_interval() -> None:
    rng = np.random.default_rng(1)
    w, r = rng.choice([0.5, 2.5], 500, p=[0.75, 0.25]), (rng.random(500) < 0.4).astype(float)
    state = value_sequence.advance(value_sequence.START, w, r, np.full(500, 2.5), UNIT)
    low, high, *_ = value_sequence.interval(state, UNIT)
    assert low is not None
    assert high is not None
    assert [value_sequence.excludes(state, x, UNIT) for x in (low - 1e-6, low + 1e-6, high - 1e-6, high + 1e-6)] == [
        True,
        False,
        False,
        True,
    ]
    assert not value_sequence.excludes(value_sequence.START, 0.0, UNIT)
    assert value_sequence.interval(value_sequence.START, UNIT).reason == "no rows yet"


def test_an_unknown_largest_weight_is_allowed_and_costs_width() -> None:
    rng = np.random.default_rng(2)
    w, r = rng.choice([0.5, 1.5], 4000), (rng.random(4000) < 0.9).astype(float)
    known = value_sequence.interval(value_sequence.advance(value_sequence.START, w, r, np.full(4000, 1.5), UNIT), UNIT)
    unknown = value_sequence.interval(
        value_sequence.advance(value_sequence.START, w, r, np.full(4000, inf), UNIT), UNIT
    )
    assert known.covers(0.9)
    assert unknown.covers(0.9)
    widths = [(interval.high or 0) - (interval.low or 0) for interval in (known, unknown)]
    assert widths[1] > 1.3 * widths[0]


def test_a_weight_above_the_largest_possible_one_is_refused() -> None:
    with pytest.raises(DataError, match="the importance weight is 3 at row 1"):
        value_sequence.advance(value_sequence.START, np.array([1.0, 3.0]), np.zeros(2), np.full(2, 2.0), UNIT)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_sequence_holds_at_every_look_and_is_narrow(world: benchmark.World) -> None:
    """Of 40 runs, 5% miss 7 or more times with a chance of 0.3%. The benchmark has 500 longer runs."""
    score = benchmark.score_world(world, 40, rows=1500, looks=25)
    assert sum(score.missed[benchmark.ALWAYS_VALID]) <= 6
    width = score.relative_width(benchmark.ALWAYS_VALID, 1500)
    assert width is not None
    assert width < 2.5
    assert score.contradicted[benchmark.ALWAYS_VALID] == 0
