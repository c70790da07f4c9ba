"""Measures of fairness: equal worlds raise nothing, planted gaps and bubbles are found, figures follow their definitions."""

import numpy as np
import pytest

from experiments.fairness.exposure import coverage, entropy, popularity, spread
from experiments.fairness.gaps import NOTHING, Cell, excess_gap
from experiments.fairness.paths import STAGE, excess_change, stages

RNG = np.random.default_rng


def cell(decisions: np.ndarray, reward: np.ndarray) -> Cell:
    return Cell(
        len(reward),
        decisions.sum(),
        reward.sum(),
        (decisions**2).sum(),
        (reward**2).sum(),
        (decisions * reward).sum(),
    )


def world(random: np.random.Generator, units: int, mean: float, heavy: bool = True) -> Cell:
    """Units of uneven activity with a lasting mood each."""
    decisions = 1.0 + (random.pareto(2.5, units) if heavy else np.zeros(units)).astype(int)
    mood = random.beta(20 * mean, 20 * (1 - mean), units)
    return cell(decisions, random.binomial(decisions.astype(int), mood).astype(float))


def test_spread_has_the_values_of_its_definitions() -> None:
    even, one = np.full(4, 0.25), np.array([0.0, 0.0, 1.0, 0.0])
    assert spread(even) == (pytest.approx(0.0), 0.25, pytest.approx(1.0))
    assert spread(one) == (pytest.approx(0.75), 0.0, 0.0)
    shares = np.array([0.5, 0.3, 0.2])
    by_pairs = sum(abs(a - b) for a in shares for b in shares) / (2 * 3 * shares.sum())
    assert spread(shares).gini == pytest.approx(by_pairs)
    assert entropy(np.array([1.0])) == 1.0
    assert coverage(np.array([3, 0, 1, 0])) == 0.5


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_popularity_slope_tells_proportion_from_running_ahead(power: float) -> None:
    value = np.array([0.1, 0.2, 0.3, 0.4])
    share = value**power / (value**power).sum()
    weight = np.full((20, 4), 500.0)
    noise = RNG(1).normal(0, 0.004, (20, 4))
    slope = popularity(np.tile(share * 100, (20, 1)), weight * (value + noise), weight, units=1000)
    assert slope.value is not None and slope.interval.low is not None and slope.interval.high is not None
    assert (slope.interval.low > 1.0) == (power > 1.0)
    assert slope.interval.low < (1.0 if power == 1.0 else 5 / 3) < slope.interval.high


def test_a_popularity_slope_without_differences_says_why() -> None:
    same = np.full((20, 4), 1.0)
    assert "different values" in popularity(same, same, same, 500).interval.reason
    assert popularity(same[:, :2], same[:, :2] * [1, 2], same[:, :2], 500).value is None


def test_equal_worlds_raise_nothing_at_any_look() -> None:
    """A world's own gap of 40%, alike in both arms, and five looks: at most 5% of the runs say that the arm widens it."""
    random, alarms, runs = RNG(3), 0, 150
    for _ in range(runs):
        cells = [NOTHING] * 4
        for _ in range(5):
            means = (0.3, 0.5, 0.3, 0.5)
            cells = [old.plus(world(random, 150, mean)) for old, mean in zip(cells, means, strict=True)]
            p = excess_gap((cells[0], cells[1]), (cells[2], cells[3])).p_value
            if p is not None and p <= 0.05:
                alarms += 1
                break
    assert alarms <= 0.05 * runs


def test_a_planted_gap_is_found_with_the_right_sign_and_the_world_s_is_not_blamed() -> None:
    random = RNG(5)
    arm = world(random, 8_000, 0.35, heavy=False), world(random, 8_000, 0.5, heavy=False)
    reference = world(random, 8_000, 0.45, heavy=False), world(random, 8_000, 0.5, heavy=False)
    gap = excess_gap(arm, reference)
    assert gap.p_value is not None and gap.p_value < 0.001
    assert gap.interval.high is not None and gap.interval.high < 0 and gap.interval.covers(-0.1)
    assert gap.gap == pytest.approx(-0.15, abs=0.03) and gap.reference == pytest.approx(-0.05, abs=0.03)


def test_a_gap_stays_closed_without_data_and_says_what_it_needs() -> None:
    few = cell(np.ones(20), np.ones(20))
    assert "100 effective users" in excess_gap((few, few), (few, few)).interval.reason
    none = cell(np.ones(200), np.zeros(200))
    assert "effective rewards" in excess_gap((none, none), (none, none)).interval.reason
    one = cell(np.ones(200), np.ones(200))
    assert "no variance" in excess_gap((one, one), (one, one)).interval.reason
    bot = cell(np.append(np.ones(500), 1e6), np.append(np.ones(500), 5e5))
    assert excess_gap((bot, one), (one, one)).p_value is None, "one unit with most of the decisions is one observation"
    assert excess_gap((NOTHING, one), (one, one)).p_value is None


def test_the_variance_of_a_cell_is_that_of_the_ratio_over_runs() -> None:
    random = RNG(8)
    cells = [world(random, 400, 0.4) for _ in range(600)]
    means = np.array([one.mean for one in cells])
    assert np.mean([one.variance for one in cells]) == pytest.approx(means.var(), rel=0.2)


def test_stages_are_the_entropies_of_what_was_likely_and_the_repeats_of_what_was_drawn() -> None:
    wide, narrow = np.tile([0.25] * 4, (STAGE, 1)), np.tile([0.97, 0.01, 0.01, 0.01], (STAGE, 1))
    drawn = np.array([0, 1, 2, 3, 0] + [0] * STAGE + [1, 1])
    path = stages(np.vstack([wide, narrow, wide[:2]]), drawn)
    assert len(path) == 2, "a stage that is not full does not count"
    assert path[0].entropy == pytest.approx(1.0) and path[1].entropy == pytest.approx(0.121, abs=0.001)
    assert path[0].repeats == 0.0 and path[1].repeats == 1.0
    assert path[0].variety == 1.0 and path[1].variety == 0.25


def test_narrowing_is_found_beyond_the_reference_and_equal_arms_raise_nothing() -> None:
    random = RNG(11)
    narrowed, same = random.normal(-0.3, 0.2, 300), random.normal(-0.1, 0.2, 300)
    change = excess_change(narrowed, same)
    assert change.p_value is not None and change.p_value < 0.01 and change.interval.covers(-0.2)
    alarms = sum(
        (excess_change(random.normal(-0.1, 0.2, 200), random.normal(-0.1, 0.2, 200)).p_value or 1) <= 0.05
        for _ in range(300)
    )
    assert alarms <= 15
    assert "opens at" in excess_change(narrowed[:50], same).interval.reason
    assert "nothing changes" in excess_change(np.zeros(200), np.zeros(200)).interval.reason


def test_a_policy_that_narrows_everybody_alike_is_found_and_a_trace_of_it_is_not() -> None:
    """Everybody has the same change, so that their spread is 0: that is no reason to see nothing, nor to be sure of a trace."""
    same = np.zeros(120)
    found = excess_change(np.full(120, -0.95), same)
    assert (
        found.p_value is not None
        and found.p_value < 1e-6
        and found.interval.covers(-0.95)
        and (found.interval.high or 0.0) < -0.8
    )
    trace = excess_change(np.full(120, -0.007), same)
    assert (trace.p_value or 0.0) > 0.05 and trace.interval.covers(0.0)
