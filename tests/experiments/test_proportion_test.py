"""The exact test of proportions: fair whatever the rate does, never wrong too often, quick to see a broken arm."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from experiments.arms import proportion_test
from experiments.arms.proportion_test import Counts
from experiments.validation import DataError


@pytest.mark.parametrize(("chance", "rates"), [(0.5, (0.1, 0.9, 0.3)), (0.05, (0.01, 0.01, 0.5))])
def test_the_expected_evidence_is_one_under_any_rate_even_one_that_moves(
    chance: float, rates: tuple[float, ...]
) -> None:
    """Every way in which three units can be assigned and have the event or not, weighted by its chance."""
    expected = 0.0
    for arms, events in product(product((0, 1), repeat=3), product((0, 1), repeat=3)):
        probability = 1.0
        for arm, event, rate in zip(arms, events, rates, strict=True):
            probability *= (chance if arm else 1 - chance) * (rate if event else 1 - rate)
        units = (arms.count(0), arms.count(1))
        with_event = [sum(e for a, e in zip(arms, events, strict=True) if a == side) for side in (0, 1)]
        evidence = proportion_test.log_evidence([Counts(chance, (with_event[0], with_event[1]), units)])
        expected += probability * float(np.exp(evidence))
    assert expected == pytest.approx(1.0, abs=1e-9)


def test_at_every_look_it_misses_in_at_most_five_of_a_hundred_experiments() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(400):
        treated, event = rng.random(2000) < 0.05, rng.random(2000) < 0.01
        looks = range(50, 2001, 50)
        missed += any(proportion_test.p_value([counts(treated[:look], event[:look])]) < 0.05 for look in looks)
    assert missed / 400 <= 0.05


def counts(treated: np.ndarray, event: np.ndarray) -> Counts:
    sides = [(int((event & side).sum()), int(side.sum())) for side in (~treated, treated)]
    return Counts(0.05, (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1]))


def test_an_arm_in_which_nothing_works_is_seen_after_a_few_units() -> None:
    assert proportion_test.p_value([Counts(0.5, (15, 0), (30, 30))]) < 0.01
    assert proportion_test.p_value([Counts(0.5, (1, 0), (30, 30))]) > 0.5
    assert proportion_test.p_value([]) == 1.0


def test_strata_add_up_and_a_moving_rate_is_no_difference() -> None:
    ramp = [Counts(0.1, (90, 10), (900, 100)), Counts(0.5, (250, 250), (500, 500))]
    assert proportion_test.p_value(ramp) > 0.5
    pooled = [Counts(0.3, (340, 260), (1400, 600))]
    assert proportion_test.p_value(pooled) < 1e-9, "what comparing over the ramp would say"


def test_the_chance_of_the_coin_must_be_known() -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        proportion_test.p_value([Counts(1.0, (0, 1), (1, 1))])
