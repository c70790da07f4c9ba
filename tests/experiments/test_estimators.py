"""Estimators are unbiased where their assumptions hold: exact expectations by enumerating every possible log row."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from experiments.off_policy import estimators, slates
from experiments.validation import DataError

RNG = np.random.default_rng(11)
MEANS = RNG.uniform(0, 1, (3, 4))
PI, P = RNG.dirichlet([1] * 4, 3), RNG.dirichlet([2] * 4, 3)
VALUE = float((PI * MEANS).sum(axis=1).mean())
X, A = (np.array(c) for c in zip(*product(range(3), range(4)), strict=True))
CHANCE = P[X, A] / 3
WEIGHT, REWARD = PI[X, A] / P[X, A], MEANS[X, A]


def expectation(estimate: estimators.Estimate) -> float:
    """The estimate's mean over logs of one row: its rows (influence + value) weighted by their chance."""
    return float(CHANCE @ (estimate.influence + estimate.value))


def test_ips_and_dr_with_any_reward_model_are_unbiased() -> None:
    assert expectation(estimators.ips(WEIGHT, REWARD)) == pytest.approx(VALUE, rel=1e-12)
    wrong = RNG.uniform(-3, 3, (3, 4))
    q, v = wrong[X, A], (PI * wrong).sum(axis=1)[X]
    assert expectation(estimators.dr(WEIGHT, REWARD, q, v)) == pytest.approx(VALUE, rel=1e-12)
    assert expectation(estimators.dm(v)) != pytest.approx(VALUE, rel=0.05)


def test_the_bias_of_shrunk_estimators_is_the_removed_weight_times_the_residual() -> None:
    wrong = RNG.uniform(-3, 3, (3, 4))
    q, v = wrong[X, A], (PI * wrong).sum(axis=1)[X]
    cases = (
        (np.where(WEIGHT <= 0.7, WEIGHT, 0), estimators.switch_dr(WEIGHT, REWARD, q, v, 0.7)),
        (2 * WEIGHT / (WEIGHT**2 + 2), estimators.dr_os(WEIGHT, REWARD, q, v, 2.0)),
    )
    for kept, estimate in cases:
        bias = VALUE - expectation(estimate)
        assert bias == pytest.approx(float(CHANCE @ ((WEIGHT - kept) * (REWARD - q))), rel=1e-9), estimate.name


def test_shrinkage_ends_at_the_direct_method_and_at_dr() -> None:
    q, v = REWARD * 0.5, REWARD * 0.4
    assert estimators.dr_os(WEIGHT, REWARD, q, v, 0.0).value == estimators.dm(v).value
    assert estimators.dr_os(WEIGHT, REWARD, q, v, np.inf).value == estimators.dr(WEIGHT, REWARD, q, v).value


def test_self_normalised_estimators_shift_with_the_origin_of_rewards() -> None:
    q, v = REWARD * 0.5, REWARD * 0.4
    assert estimators.snips(WEIGHT, REWARD + 7).value == pytest.approx(estimators.snips(WEIGHT, REWARD).value + 7)
    moved = estimators.sndr(WEIGHT, REWARD + 7, q + 7, v + 7)
    assert moved.value == pytest.approx(estimators.sndr(WEIGHT, REWARD, q, v).value + 7)


def test_influence_values_have_mean_zero() -> None:
    q, v = REWARD * 0.5, REWARD * 0.4
    for estimate in (
        estimators.snips(WEIGHT, REWARD),
        estimators.sndr(WEIGHT, REWARD, q, v),
        estimators.difference(estimators.dr(WEIGHT, REWARD, q, v), estimators.logged_value(REWARD)),
    ):
        assert float(estimate.influence.mean()) == pytest.approx(0, abs=1e-12), estimate.name


def test_a_policy_minus_the_policies_that_ran_is_zero_when_they_are_the_same() -> None:
    same = estimators.difference(estimators.ips(np.ones(12), REWARD), estimators.logged_value(REWARD))
    assert same.value == 0
    assert not same.influence.any()


def test_unusable_weights_are_refused() -> None:
    with pytest.raises(DataError, match="never chooses a logged action"):
        estimators.snips(np.zeros(5), np.ones(5))
    with pytest.raises(DataError, match="propensity is 0 at row 1"):
        estimators.importance_weights([0.5, 0.0], [0.5, 0.5])
    with pytest.raises(DataError, match=r"target probability is 1\.2 at row 0"):
        estimators.importance_weights([0.5, 0.5], [1.2, 0.5])


SLOTS, ITEMS = 2, 3
SLATES = np.array(list(product(range(ITEMS), repeat=SLOTS)))
LOGGED, WANTED = RNG.dirichlet([2] * ITEMS, SLOTS), RNG.dirichlet([1] * ITEMS, SLOTS)
SLOT_WEIGHTS = np.stack([WANTED[s, SLATES[:, s]] / LOGGED[s, SLATES[:, s]] for s in range(SLOTS)], axis=1)
SLATE_CHANCE = np.prod([LOGGED[s, SLATES[:, s]] for s in range(SLOTS)], axis=0)
TARGET_CHANCE = np.prod([WANTED[s, SLATES[:, s]] for s in range(SLOTS)], axis=0)


def slate_expectation(estimate: estimators.Estimate) -> float:
    return float(SLATE_CHANCE @ (estimate.influence + estimate.value))


def test_each_slate_estimator_is_unbiased_under_its_own_assumption() -> None:
    base = RNG.uniform(0, 1, (SLOTS, ITEMS))
    own = np.stack([base[s, SLATES[:, s]] for s in range(SLOTS)], axis=1)
    cascade = own * np.stack([np.ones(len(SLATES)), 0.3 + own[:, 0]], axis=1)
    additive, interacting = own.sum(axis=1), own.prod(axis=1)
    assert slate_expectation(slates.standard_ips(SLOT_WEIGHTS, interacting)) == pytest.approx(
        TARGET_CHANCE @ interacting
    )
    assert slate_expectation(slates.pseudo_inverse(SLOT_WEIGHTS, additive)) == pytest.approx(TARGET_CHANCE @ additive)
    assert slate_expectation(slates.independent_ips(SLOT_WEIGHTS, own)) == pytest.approx(
        TARGET_CHANCE @ own.sum(axis=1)
    )
    wanted = TARGET_CHANCE @ cascade.sum(axis=1)
    assert slate_expectation(slates.reward_interaction_ips(SLOT_WEIGHTS, cascade)) == pytest.approx(wanted)


def test_slate_estimators_are_biased_outside_their_assumptions() -> None:
    product_reward = np.array([float(a == b) for a, b in SLATES])
    result = slate_expectation(slates.pseudo_inverse(SLOT_WEIGHTS, product_reward))
    assert result != pytest.approx(TARGET_CHANCE @ product_reward, rel=0.01)
    with pytest.raises(DataError, match="different shapes"):
        slates.independent_ips(SLOT_WEIGHTS, np.ones((3, 2)))
