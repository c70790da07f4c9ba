"""Beliefs and the race, against independent formulas."""

import numpy as np
import pytest

from bandits.learner.beliefs import RIDGES, Sums
from bandits.learner.prepared import Prepared
from bandits.learner.race import LEAD, Race


def rows(n: int, size: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = np.concatenate((np.ones((n, 1)), random.standard_normal((n, size - 1))), axis=1)
    block = random.integers(0, 3, n)
    return block, x, x @ random.standard_normal(size) + random.standard_normal(n)


@pytest.mark.parametrize("ridge", RIDGES)
def test_weights_are_those_of_ridge_regression_by_least_squares(ridge: float) -> None:
    """Ridge regression is least squares with sqrt(ridge) I appended as rows whose rewards are 0."""
    block, x, y = rows(300, 6)
    sums = Sums.empty(3, 6)
    sums.add(block, x, y)
    for number in range(3):
        mine = block == number
        stacked = np.concatenate((x[mine], np.sqrt(ridge) * np.eye(6)))
        expected = np.linalg.lstsq(stacked, np.concatenate((y[mine], np.zeros(6))), rcond=None)[0]
        assert sums.weights(ridge)[number] == pytest.approx(expected, abs=1e-10)


def test_the_spread_is_that_of_the_weights_over_many_logs() -> None:
    """Given the rows, the ridge estimate's distance from a truth drawn from the prior has the belief's covariance."""
    random = np.random.default_rng(3)
    x, probe = random.standard_normal((40, 4)), random.standard_normal(4)
    misses = []
    for _ in range(4000):
        truth = random.standard_normal(4)
        sums = Sums.empty(1, 4)
        sums.add(np.zeros(40, dtype=np.int64), x, x @ truth + random.standard_normal(40))
        mean, variance = sums.belief(1.0).of_rows(probe[np.newaxis])
        misses.append((probe @ truth - mean[0]) / np.sqrt(variance[0]))
    assert np.mean(misses) == pytest.approx(0.0, abs=4 / np.sqrt(4000))
    assert np.var(misses) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 4000))


def test_the_order_of_parts_does_not_matter_and_an_unknown_block_is_the_prior() -> None:
    block, x, y = rows(500, 5)
    whole, parts = Sums.empty(3, 5), Sums.empty(2, 5).grown(3)
    whole.add(block, x, y)
    for part in np.array_split(np.arange(500), 7):
        parts.add(block[part], x[part], y[part])
    assert parts.gram == pytest.approx(whole.gram, rel=1e-12)
    belief = whole.belief(2.0)
    mean, variance = Prepared.of_blocks(belief, np.array([2, -1, -1, 0])).of_row(x[0])
    direct, spread = Prepared.of_blocks(belief, np.arange(3)).of_row(x[0])
    assert mean == pytest.approx([direct[2], 0.0, 0.0, direct[0]])
    prior = float(x[0] @ (x[0] / belief.prior))
    assert variance == pytest.approx([spread[2], prior, prior, spread[0]])


def test_a_challenger_takes_over_only_when_its_lead_is_clear() -> None:
    random = np.random.default_rng(5)
    truth = random.standard_normal(4000)
    steady = truth + random.standard_normal(4000)
    race = Race.new(("a", "b"))
    race.score(np.stack((steady, truth + random.standard_normal(4000))), truth)
    race.losses[1] = race.losses[0] - 0.5 * LEAD * race.error(1) * race.weight
    race.choose()
    assert race.served == 0
    better = Race.new(("a", "b"))
    better.score(np.stack((steady, truth + 0.9 * (steady - truth))), truth)
    better.choose()
    assert better.served == 1 and better.lead(0) < 0


def test_the_race_forgets_what_was_long_ago() -> None:
    race = Race.new(("a", "b"))
    zeros = np.zeros(100)
    for _ in range(50):
        race.score(np.stack((zeros, zeros + 1.0)), zeros)
    race.choose()
    assert race.served == 0
    for _ in range(20):
        race.score(np.stack((zeros + 1.0, zeros)), zeros)
    race.choose()
    assert race.served == 1 and race.means()[1] < race.means()[0]


def test_a_sudden_loss_is_noticed_and_noise_is_not() -> None:
    random = np.random.default_rng(7)
    race = Race.new(("a",))
    alarms = 0
    for _ in range(400):
        race.score(random.standard_normal((1, 100)), np.zeros(100))
        alarms += race.drifted
    assert alarms <= 4
    race.score(2.0 * random.standard_normal((1, 100)), np.zeros(100))
    assert race.drifted


def test_columns_that_say_nothing_are_found_and_held_to_zero() -> None:
    random = np.random.default_rng(11)
    block, x = random.integers(3, size=900), random.standard_normal((900, 60))
    x[:, 0] = 1.0
    truth = np.zeros((3, 60))
    truth[:, 1:5] = random.standard_normal((3, 4))
    sums = Sums.empty(3, 60)
    sums.add(block, x, np.einsum("ni,ni->n", x, truth[block]) + random.standard_normal(900))
    found = sums.relevance(1.0)
    assert found[0] == 1.0 and min(found[5:]) > 5 * max(found[1:5])
    missed = {precision: float(np.square(sums.weights(precision) - truth).sum()) for precision in (found, *RIDGES)}
    assert missed[found] < 0.5 * min(missed[ridge] for ridge in RIDGES)


def test_few_rows_leave_much_to_explore_whatever_they_seem_to_say() -> None:
    sums = Sums.empty(2, 10)
    sums.add(np.arange(20) % 2, np.ones((20, 10)), np.zeros(20))
    belief = sums.belief((1.0,) * 5 + (1e4,) * 5)
    assert belief.prior == pytest.approx([1.0] * 5 + [10.0] * 5)  # ten rows of each block
    assert belief.weights == pytest.approx(sums.weights((1.0,) * 5 + (1e4,) * 5))
