"""Values of arms and actions on the logs of learners: part of `python -m benchmarks.coverage`.

`arms`: three arms of a bandit that reads no context. `actions`: three kinds of context (.5, .3, .2) and three actions, each
best for one kind. After each of 40 batches the learner takes the best action of each kind so far, with the floor that heads
the column. "By stretch" is what the platform prints; "by row" weights each row by the square root of its own probability,
which holds only where no context is read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.tally import Tally, chunks
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
    weights = np.sqrt(logged)
    return [
        ActionValue(value, adaptive.contrast(scores, weights, (k, 0)) if k else None)
        for k, value in enumerate(adaptive.arm_values(scores, weights))
    ]


def _score(name: str, values: list[ActionValue], tally: Tally) -> None:
    for k, found in enumerate(values):
        tally.add(f"{name}, action {k}", found.value.interval[:2], TRUTH[k])
        if found.minus_first is not None:
            tally.add(f"{name}, action {k} - action 0", found.minus_first.interval[:2], TRUTH[k] - TRUTH[0])


def arms(policy: str, runs: int, seed: int = 2, rows: int = 4000, decay: float = 0.7) -> Tally:
    """Coverage for the best minus the worst of three arms and for each arm, from logs of a context-free bandit."""
    rng, tally = np.random.default_rng(seed), Tally()
    truth = np.array([0.3, 0.35, 0.42])
    k, batch = len(truth), rows // 40
    for size in chunks(runs):
        n, s = np.zeros((size, k)), np.zeros((size, k))
        e, chosen, reward = np.empty((size, rows, k)), np.empty((size, rows), np.int64), np.empty((size, rows))
        for start in range(0, rows, batch):
            cut = slice(start, start + batch)
            p = np.full((size, k), 1 / k)
            if start:
                floor = float((start + batch) ** -decay)
                p = (1 - floor) * _arm_probabilities(policy, n, s, rng) + floor / k
            a = (rng.random((size, batch, 1)) > np.cumsum(p, axis=1)[:, None, :-1]).sum(axis=2)
            r = (rng.random((size, batch)) < truth[a]).astype(np.float64)
            e[:, cut], chosen[:, cut], reward[:, cut] = p[:, None, :], a, r
            for arm in range(k):
                n[:, arm] += (a == arm).sum(axis=1)
                s[:, arm] += (r * (a == arm)).sum(axis=1)
        for i in range(size):
            _one_bandit(truth, e[i], chosen[i], reward[i], decay, tally)
    return tally


def _arm_probabilities(policy: str, n: Floats, s: Floats, rng: np.random.Generator) -> Floats:
    mean = (s + 0.5) / (n + 1)
    if policy == "epsilon_greedy":
        best = mean == mean.max(axis=1, keepdims=True)
        return np.asarray(best / best.sum(axis=1, keepdims=True))
    spread = np.sqrt(np.clip(mean * (1 - mean), 1e-4, None) / (n + 1))
    draws = rng.normal(mean, spread, size=(200, *mean.shape)).argmax(axis=2)
    return np.stack([(draws == a).mean(axis=0) for a in range(mean.shape[1])], axis=1)


def _one_bandit(truth: Floats, e: Floats, chosen: Ints, reward: Floats, decay: float, tally: Tally) -> None:
    scores = adaptive.arm_scores(reward, chosen, e, adaptive.running_means(reward, chosen, len(truth)))
    weights = {
        "unweighted AIPW": np.ones_like(e),
        "StableVar": np.sqrt(e),
        "by stretch": _by_stretch(e),
        "two-point": adaptive.two_point_weights(e, decay),
    }
    for name, h in weights.items():
        for arm, estimate in enumerate(adaptive.arm_values(scores, h)):
            tally.add(f"{name}, arm {arm}", estimate.interval[:2], truth[arm])
        tally.add(f"{name}, best - worst", adaptive.contrast(scores, h, (2, 0)).interval[:2], truth[2] - truth[0])
    for arm in (0, 2):
        of_arm = reward[chosen == arm]
        if len(of_arm) > 1:
            half = 1.96 * float(of_arm.std(ddof=1)) / len(of_arm) ** 0.5
            tally.add(f"raw mean (not valid), arm {arm}", (of_arm.mean() - half, of_arm.mean() + half), truth[arm])


def _by_stretch(e: Floats) -> Floats:
    part = adaptive.parts(len(e))
    return np.column_stack([adaptive.part_weights(1 / e[:, arm], part) for arm in range(e.shape[1])])
