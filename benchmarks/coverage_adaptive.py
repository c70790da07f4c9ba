"""Values of actions on the logs of a learner whose choices follow a context: part of `python -m benchmarks.coverage`.

The world: three kinds of context (.5, .3, .2) and three actions, each best for one kind. After each of 40 batches the
learner takes the best action of each kind so far, with the floor that heads the column. "By stretch" is what the platform
prints; "by row" weights each row by the square root of its own probability, which holds only where no context is read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.tally import Tally
from experiments.off_policy import adaptive
from experiments.off_policy.adaptive import ActionValue

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
KINDS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.2, 0.5, 0.3], [0.5, 0.2, 0.3], [0.3, 0.4, 0.8]])  # by kind of context and action
TRUTH = KINDS @ MEANS
BATCHES = 40


def actions(rows: int, floor: float, decay: float, runs: int, seed: int = 3) -> Tally:
    """Coverage of the value of each action, and of its difference to the first, by both ways to weight."""
    random, tally = np.random.default_rng(seed), Tally()
    for _ in range(runs):
        logged, chosen, reward = _log(rows, floor, decay, random)
        _score("by stretch", adaptive.action_values(reward, chosen, logged), tally)
        _score("by row (not valid)", _by_row(logged, chosen, reward), tally)
    return tally


def _log(rows: int, floor: float, decay: float, random: np.random.Generator) -> tuple[Floats, Ints, Floats]:
    """The distributions, the actions and the rewards of a log in time order."""
    kind, k, size = random.choice(3, rows, p=KINDS), MEANS.shape[1], rows // BATCHES
    sums, counts = np.full((3, k), 0.5), np.ones((3, k))
    logged, chosen, reward = np.empty((rows, k)), np.empty(rows, np.int64), np.empty(rows)
    for start in range(0, rows, size):
        cut = slice(start, start + size)
        share = floor * (start // size + 1) ** -decay if start else 1.0
        policy = share / k + (1 - share) * np.eye(k)[(sums / counts).argmax(axis=1)]
        logged[cut] = policy[kind[cut]]
        chosen[cut] = (logged[cut].cumsum(axis=1) < random.random((len(logged[cut]), 1))).sum(axis=1).clip(max=k - 1)
        reward[cut] = random.random(len(logged[cut])) < MEANS[kind[cut], chosen[cut]]
        np.add.at(sums, (kind[cut], chosen[cut]), reward[cut])
        np.add.at(counts, (kind[cut], chosen[cut]), 1.0)
    return logged, chosen, reward


def _by_row(logged: Floats, chosen: Ints, reward: Floats) -> list[ActionValue]:
    scores = adaptive.arm_scores(reward, chosen, logged, adaptive.running_means(reward, chosen, len(TRUTH)))
    weights = adaptive.stable_weights(logged)
    return [
        ActionValue(value, adaptive.contrast(scores, weights, (k, 0)) if k else None)
        for k, value in enumerate(adaptive.arm_values(scores, weights))
    ]


def _score(name: str, values: list[ActionValue], tally: Tally) -> None:
    for k, found in enumerate(values):
        tally.add(f"{name}, action {k}", found.value.interval[:2], TRUTH[k])
        if found.minus_first is not None:
            tally.add(f"{name}, action {k} - action 0", found.minus_first.interval[:2], TRUTH[k] - TRUTH[0])
