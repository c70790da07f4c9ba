"""Prepared actions: the same belief as the formula gives, for words, numbers and actions with features."""

import numpy as np
import pytest

from bandits.encoding import encode_action
from bandits.learner.beliefs import Belief, Sums
from bandits.learner.columns import SHARED, Columns, SharedVectors
from bandits.learner.prepared import Prepared
from bandits.learner.scaling import LineScaler, Rule

RANDOM = np.random.default_rng(7)


def learned(blocks: int, size: int) -> Belief:
    sums, n = Sums.empty(blocks, size), 400
    sums.add(RANDOM.integers(blocks, size=n), RANDOM.normal(size=(n, size)), RANDOM.normal(size=n))
    return sums.belief(1.0)


def context(size: int, filled: int) -> np.ndarray:
    row = np.zeros(size)
    row[RANDOM.permutation(size)[:filled]] = RANDOM.normal(size=filled)
    row[0] = 1.0
    return row


@pytest.mark.parametrize("filled", [1, 8, 30])
def test_blocks_of_actions_of_which_some_are_unknown(filled: int) -> None:
    belief, row = learned(3, 30), context(30, filled)
    mean, variance = Prepared.of_blocks(belief, np.array([2, -1, -1, 0])).of_row(row)
    unknown = row @ (row / belief.prior)
    assert mean == pytest.approx([belief.weights[2] @ row, 0.0, 0.0, belief.weights[0] @ row], abs=1e-12)
    square = [row @ belief.inverse[2] @ row, unknown, unknown, row @ belief.inverse[0] @ row]
    assert variance == pytest.approx(square, abs=1e-12)


@pytest.mark.parametrize("filled", [5, 40])
def test_actions_with_features_believe_what_their_whole_vectors_do(filled: int) -> None:
    scaler = LineScaler({"price": Rule("standard", 3.0, 2.0)}, ("colour=red", "colour=blue"))
    lines = [encode_action(f"a{n}", {"price": n / 2, "colour": ("red", "blue")[n % 2]}) for n in range(6)]
    belief, row = learned(1, SHARED), context(40, filled)
    actions = SharedVectors(Columns(scaler, 100), 40).prepare(lines)
    prepared = Prepared.of_shared(belief, actions)
    assert prepared is not None
    vectors = actions.vectors(row)
    mean, variance = prepared.of_row(row)
    assert mean == pytest.approx(vectors @ belief.weights[0], abs=1e-10)
    assert variance == pytest.approx(np.einsum("ki,ij,kj->k", vectors, belief.inverse[0], vectors), abs=1e-10)


def test_too_many_actions_with_wide_contexts_are_not_prepared() -> None:
    actions = SharedVectors(Columns(LineScaler({}, ()), 100), 400)
    lines = [encode_action(f"a{n}") for n in range(3)]
    assert Prepared.of_shared(learned(1, SHARED), actions.prepare(lines)) is None
    assert Prepared.of_shared(learned(1, SHARED), actions.prepare(lines[:1])) is not None
