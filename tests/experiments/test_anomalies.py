"""Units stand out when they are far ahead or unlike the others; those of heavy-tailed and varied people do not."""

import numpy as np
import pytest

from experiments.monitoring.anomalies import BUSY, LEAST_UNITS, Feature, entropy, standing_out

RNG = np.random.default_rng


@pytest.mark.parametrize("index", [0.8, 1.0, 1.5, 2.5, 4.0])
def test_heavy_tails_are_no_anomaly(index: float) -> None:
    raised = 0
    for seed in range(200):
        weights = 1 + RNG(seed).pareto(index, 1000)
        decisions = RNG(seed).multinomial(20_000, weights / weights.sum()).astype(float)
        raised += bool(standing_out(decisions[decisions > 0], {}))
    assert raised <= 1


@pytest.mark.parametrize("bots", [1, 3, 8])
def test_units_far_ahead_of_people_who_come_a_few_times_are_found(bots: int) -> None:
    decisions = np.concatenate([1.0 + RNG(1).poisson(1.0, 500), np.full(bots, 3000.0)])
    found = standing_out(decisions, {})
    assert [finding.unit for finding in found] == list(range(500, 500 + bots))
    assert all(finding.feature == "decisions" and finding.value == 3000 and finding.typical < 10 for finding in found)


def test_a_unit_unlike_its_peers_is_found_only_if_it_is_busy() -> None:
    decisions = np.full(100, 2.0 * BUSY)
    delays = RNG(2).normal(3.0, 0.7, 100)
    delays[7] = -3.0
    (finding,) = standing_out(decisions, {"delay": Feature(delays, 0.5)})
    assert (finding.unit, finding.feature, finding.value) == (7, "delay", -3.0) and finding.strength > 8
    decisions[7] = BUSY - 1
    assert standing_out(decisions, {"delay": Feature(delays, 0.5)}) == []


def test_a_small_spread_is_not_believed_and_unknown_values_are_left_out() -> None:
    decisions = np.full(100, 2.0 * BUSY)
    same = np.zeros(100)
    same[3] = 0.5
    assert standing_out(decisions, {"choices": Feature(same, 0.25)}) == []
    same[3], same[50:] = 5.0, np.nan
    assert [finding.unit for finding in standing_out(decisions, {"choices": Feature(same, 0.25)})] == [3]
    same[LEAST_UNITS - 1 :] = np.nan
    assert standing_out(decisions, {"choices": Feature(same, 0.25)}) == [], "too few to compare with"


def test_few_units_are_not_judged() -> None:
    assert standing_out(np.array([1.0] * (LEAST_UNITS - 2) + [5000.0]), {}) == []
    assert standing_out(np.array([]), {}) == []


def test_entropy_is_in_bits() -> None:
    assert entropy([5, 5]) == 1.0 and entropy([7]) == 0.0 and entropy([1, 1, 1, 1, 0]) == 2.0
    assert np.isnan(entropy([]))
