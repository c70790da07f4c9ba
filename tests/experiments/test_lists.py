"""Values of whole lists, by enumeration: expectations over every list that could have been logged equal the truth."""

from itertools import permutations

import numpy as np
import pytest

from experiments.off_policy import lists
from experiments.off_policy.lists import ListColumns

ACTIONS, POSITIONS = 4, 3
RANDOM = np.random.default_rng(5)
WORTH = RANDOM.uniform(0.1, 0.9, (ACTIONS, POSITIONS))
BELOW = np.array([0.05, 1.0, 0.2, 1.0])  # what an action leaves of the rewards below it
SHARE = np.array([0.3, 0.7])
ARMS = RANDOM.dirichlet([1.0] * ACTIONS, 2)  # scores from which each arm draws without repeats
TARGET = RANDOM.dirichlet([1.0] * ACTIONS)
GUESS = RANDOM.uniform(0, 1, (ACTIONS, POSITIONS))
LISTS = list(permutations(range(ACTIONS), POSITIONS))


def chances(scores: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """The chance of each position's action, given those above."""
    left = [1 - sum(scores[list(chosen[:place])]) for place in range(POSITIONS)]
    return np.array([scores[action] / rest for action, rest in zip(chosen, left, strict=True)])


def rewards(chosen: tuple[int, ...]) -> np.ndarray:
    scale = np.cumprod([1.0, *(BELOW[action] for action in chosen[:-1])])
    return np.array([WORTH[action, place] for place, action in enumerate(chosen)]) * scale


def averaged(scores: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """The mean guess at each position over the target's choice there, given the logged actions above."""
    out = []
    for place in range(POSITIONS):
        left = [action for action in range(ACTIONS) if action not in chosen[:place]]
        weight = scores[left] / scores[left].sum()
        out.append(float(weight @ GUESS[left, place]))
    return np.array(out)


@pytest.fixture(scope="module")
def log() -> tuple[ListColumns, np.ndarray, float]:
    """Every list once, with the chance that the platform logs it, and the value of the target's lists."""
    arms = np.stack([[chances(arm, chosen) for chosen in LISTS] for arm in ARMS])
    logged = lists.prefix_propensity(arms, np.tile(SHARE, (len(LISTS), 1)))
    target = np.cumprod([chances(TARGET, chosen) for chosen in LISTS], axis=1)
    reward = np.array([rewards(chosen) for chosen in LISTS])
    q = np.array([[GUESS[action, place] for place, action in enumerate(chosen)] for chosen in LISTS])
    v = np.array([averaged(TARGET, chosen) for chosen in LISTS])
    truth = float(target[:, -1] @ reward.sum(axis=1))
    return ListColumns(logged, target, reward, q, v), logged[:, -1], truth


@pytest.mark.parametrize("estimator", [lists.whole_list, lists.cascade, lists.cascade_dr])
def test_every_list_estimator_is_unbiased_for_the_policy_s_own_lists(
    log: tuple[ListColumns, np.ndarray, float], estimator: object
) -> None:
    columns, chance, truth = log
    assert chance.sum() == pytest.approx(1)
    assert float(chance @ estimator(columns)) == pytest.approx(truth, abs=1e-12)


def test_changing_one_position_and_leaving_the_log_above_is_another_number(
    log: tuple[ListColumns, np.ndarray, float],
) -> None:
    columns, chance, truth = log
    own = columns.weights / columns.above
    assert abs(float(chance @ (own * columns.reward).sum(axis=1)) - truth) > 0.02


def test_a_list_without_its_top_is_left_out_and_what_follows_a_gap_too() -> None:
    table = lists.grid(np.array([0, 1, 0, 2, 1, 3]), np.array([1, 2, 2, 1, 3, 1]))
    assert table.tolist() == [[0, 2], [3, -1], [5, -1]]
    assert lists.grid(np.array([0, 0]), np.array([1, 3])).tolist() == [[0]]
    assert lists.grid(np.array([0, 0, 0]), np.array([3, 1, 2])).tolist() == [[1, 2, 0]]
