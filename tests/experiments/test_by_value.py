"""Values of actions by the values of a field, against enumeration, other formulas and simulated worlds."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from benchmarks import whom
from benchmarks.whom import ALIKE, World
from experiments.off_policy import adaptive, by_value, unit_sums
from experiments.off_policy.by_value import Log
from experiments.validation import DataError


def uniform_log(rows: int = 600, units: int = 200, **changes: Any) -> Log:
    """Three actions, each alike; half of the rewards are earned."""
    random = np.random.default_rng(3)
    log = Log(
        np.full((rows, 3), 1 / 3),
        np.full((rows, 3), 0.4),
        random.integers(0, 3, rows),
        (random.random(rows) < 0.5).astype(float),
        np.arange(rows) % units,
        np.arange(rows) * 20 // rows,
        (0.0, 1.0),
    )
    return log._replace(**changes)


def always(log: Log, action: int) -> Any:
    return np.tile(np.eye(log.logged.shape[1])[action], (len(log.reward), 1))


def test_scores_are_unbiased_and_their_noise_is_the_expected_squared_weight() -> None:
    """Over every action that could have been drawn in one row, with a reward that depends on it."""
    logged, means, target = np.array([0.2, 0.3, 0.5]), np.array([0.9, 0.1, 0.4]), np.array([0.6, 0.4, 0.0])
    log = Log(
        np.tile(logged, (3, 1)),
        np.tile([0.3, 0.8, 0.5], (3, 1)),
        np.arange(3),
        means,
        np.arange(3),
        np.zeros(3, dtype=np.int64),
        (0.0, 1.0),
    )
    found = by_value.score(log, np.tile(target, (3, 1)))
    assert logged @ found.scores == pytest.approx(target @ means)
    assert logged @ found.weights == pytest.approx(1.0)
    assert found.noise == pytest.approx([logged @ found.weights**2] * 3)


def test_with_constant_probabilities_the_value_is_the_plain_doubly_robust_mean() -> None:
    log = uniform_log()
    rows = log.unit % 2 == 0
    scores = by_value.score(log, always(log, 1))
    found = by_value.value(log, scores, rows)
    assert found.value == pytest.approx(scores.scores[rows].mean())
    sums = unit_sums.mean_sums(scores.scores[rows], log.unit[rows])
    expected = unit_sums.one_look(sums, (0.0, 1.0))
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))


def test_all_rows_of_a_part_weigh_the_same_and_by_the_part_before() -> None:
    part = np.repeat([0, 1, 2, 3], 5)
    noise = np.concatenate([np.linspace(1, 3, 5), np.full(5, 16.0), np.full(5, np.inf), np.full(5, 4.0)])
    found = adaptive.part_weights(noise, part)
    assert found == pytest.approx(np.repeat([2**-0.5, 2**-0.5, 0.0, 0.25], 5))


def test_weights_do_not_follow_the_context() -> None:
    """Weighted by each row's own probability, the value would be that of the contexts where the action is frequent."""
    random = np.random.default_rng(7)
    rows = 40_000
    x = random.integers(0, 2, rows)
    chance = np.where(x == 1, 0.95, 0.05)
    logged = np.column_stack([1 - chance, chance])
    chosen = (random.random(rows) < chance).astype(np.int64)
    reward = (random.random(rows) < np.where(x == 1, 0.8, 0.2)).astype(float)
    log = Log(logged, np.full((rows, 2), 0.5), chosen, reward, np.arange(rows), np.arange(rows) // 2000, (0.0, 1.0))
    found = by_value.value(log, by_value.score(log, always(log, 1)), np.ones(rows, dtype=bool))
    assert found.interval.covers(0.5)


@pytest.mark.parametrize("rows", [30, 45])
def test_with_few_units_there_is_no_value_and_a_reason(rows: int) -> None:
    log = uniform_log(rows, 200)
    found = by_value.value(log, by_value.score(log, always(log, 0)), np.ones(rows, dtype=bool))
    assert found.value is None and found.units < 20
    assert found.interval.reason == f"{found.units:.0f} effective units had it, 20 wanted"


def test_more_rows_of_the_same_units_are_no_new_evidence() -> None:
    log = uniform_log(3000, 12)
    assert by_value.value(log, by_value.score(log, always(log, 0)), np.ones(3000, dtype=bool)).value is None


def test_a_unit_with_most_of_the_rows_is_no_crowd() -> None:
    heavy = np.where(np.arange(600) % 10 == 0, np.arange(600), 0)
    log = uniform_log(unit=np.unique(heavy, return_inverse=True)[1])
    found = by_value.value(log, by_value.score(log, always(log, 0)), np.ones(600, dtype=bool))
    assert found.value is None and found.units < 3


def test_rewards_that_nobody_or_everybody_earns_have_a_value_and_no_interval() -> None:
    log = uniform_log(reward=np.zeros(600))
    found = by_value.value(log, by_value.score(log, always(log, 0)), np.ones(600, dtype=bool))
    assert found.value is not None and found.interval.reason == "0 effective units with a reward, 20 wanted"


def test_what_could_not_be_chosen_is_refused_and_does_not_count_where_it_later_could() -> None:
    log = uniform_log(1200, 600)
    logged = log.logged.copy()
    logged[:600] = [0.5, 0.5, 0.0]
    log = log._replace(logged=logged, chosen=np.where(np.arange(1200) < 600, log.chosen % 2, log.chosen))
    scores = by_value.score(log, always(log, 2))
    early, late = np.arange(1200) < 600, np.arange(1200) >= 600
    refused = by_value.value(log, scores, early)
    assert (refused.value, refused.interval.reason) == (None, "it could not be chosen in these decisions")
    assert by_value.value(log, scores, early | late).value == pytest.approx(by_value.value(log, scores, late).value)


def test_a_way_that_chooses_like_the_other_has_no_difference() -> None:
    log = uniform_log()
    target = by_value.score(log, always(log, 0))
    gap = by_value.score(log, np.zeros((600, 3)))
    found = by_value.difference(log, target, target, gap, np.ones(600, dtype=bool))
    assert (found.value, found.p_value, found.interval.reason) == (None, None, "both choose alike")


def test_the_p_value_leaves_5_percent_where_the_interval_leaves_0() -> None:
    random = np.random.default_rng(1)
    for shift in np.linspace(0, 0.4, 60):
        sums = unit_sums.mean_sums(random.normal(shift, 1, 150), np.arange(150) // 2)
        interval, p = unit_sums.always_valid(sums, unit_sums.UNBOUNDED), unit_sums.always_valid_p(sums)
        assert p is not None and (p <= 0.05) == (not interval.covers(0.0))


def test_a_log_that_cannot_be_is_refused() -> None:
    log = uniform_log()
    logged = log.logged.copy()
    logged[5] = np.eye(3)[(log.chosen[5] + 1) % 3]
    with pytest.raises(DataError, match="the chosen action had probability 0 at row 5"):
        by_value.checked(log._replace(logged=logged))
    with pytest.raises(DataError, match="not in time order"):
        by_value.checked(log._replace(part=log.part[::-1]))
    assert by_value.checked(log) is log


def tally(world: World, runs: int) -> dict[str, float]:
    """The small twin of `python -m benchmarks.whom`."""
    random, found = np.random.default_rng(5), defaultdict[str, list[float]](list)
    for _ in range(runs):
        whom.score(world, random, found)
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("world", [World(800, 3000), World(800, 3000, heavy=0.1)], ids=["returning", "heavy"])
def test_intervals_cover_on_the_log_of_a_learner(world: World) -> None:
    found = tally(world, 20)
    assert 0.91 <= found["value"] <= 0.99
    assert found["difference"] >= 0.97
    assert found["marked"] >= 0.3


@pytest.mark.slow
def test_alike_actions_are_seldom_marked_at_any_look_and_few_units_never() -> None:
    assert tally(World(800, 3000, means=ALIKE), 20)["at some look"] <= 0.05
    few = tally(World(40, 3000), 5)
    assert few["refused"] > 0.95 and few["marked"] == 0


@pytest.mark.slow
def test_segments_of_two_equal_arms_seldom_differ() -> None:
    random = np.random.default_rng(9)
    assert np.mean([whom.alarms(8000, 8, random) for _ in range(30)]) <= 0.1
    assert np.mean([whom.alarms(8000, 8, random, whom.EFFECT) for _ in range(10)]) >= 0.8
