"""Values of arms and policies from logs that a learning bandit collected: adaptively weighted doubly robust scores.

On such logs raw means are biased (downwards for arms that were dropped after bad luck). Unweighted scores are unbiased,
but need not be normal once probabilities shrink. Weights that depend on the past alone restore a valid interval (Hadad,
Hirshberg, Zhan, Wager and Athey 2021; Zhan et al. 2021; Bibaut et al. 2021). Estimand: an arm's (or policy's) mean
reward over the logged contexts. Needs true propensities with a floor of order t^-alpha, alpha < 1, and predictions made
from earlier rounds only. This module must never use a round to predict itself, and, where probabilities follow a context,
never let a weight follow it: the estimand would become the value where the policy takes the arm.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from experiments.off_policy.intervals import normal
from experiments.results import Interval, missing
from experiments.validation import ArrayLike, DataError, FloatArray, IntArray, codes, distributions, matrix, vector

MIN_EFFECTIVE_ROUNDS = 50.0
"""In simulations, intervals that rest on fewer terms covered 88 to 93%."""
PARTS = 20
"""Stretches of time with one weight each, where the caller has none of its own."""
MOST_UNSUPPORTED = 0.01
"""Share of a part's rows in which the target's choice could not be logged; a part with more does not count."""


class WeightedEstimate(NamedTuple):
    """A value from weighted scores."""

    value: float | None
    """In the unit of the reward; None when all weights are 0."""
    std_error: float | None
    """sqrt(sum h^2 (G - Q)^2) / sum h, same unit."""
    interval: Interval
    """Normal, for one pre-declared look; its note says when too few rounds carry the error."""


class ActionValue(NamedTuple):
    """What one action is worth on the logged contexts."""

    value: WeightedEstimate
    """Mean reward per decision, had it always been chosen."""
    minus_first: WeightedEstimate | None
    """That minus the value of the first action; None for the first action itself."""


def running_means(rewards: ArrayLike, arms: ArrayLike, n_arms: int) -> FloatArray:
    """Each arm's mean reward over EARLIER rounds, shape (T, K); 0 before its first pull."""
    r, a = vector("reward", rewards), codes("arm", arms, n_arms)
    pulled = np.zeros((len(r), n_arms))
    pulled[np.arange(len(r)), a] = 1.0
    counts = np.cumsum(pulled, axis=0) - pulled
    sums = np.cumsum(pulled * r[:, None], axis=0) - pulled * r[:, None]
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def arm_scores(
    rewards: ArrayLike, arms: ArrayLike, probabilities: ArrayLike, predictions: ArrayLike | None = None
) -> FloatArray:
    """Doubly robust scores G[t, a] = m + 1{a_t = a} (r - m) / e[t, a], shape (T, K).

    probabilities (T, K): logged distributions; predictions (T, K) from earlier rounds (None: 0, plain IPW).
    """
    e = distributions("the logged distribution", probabilities)
    r, a = vector("reward", rewards), codes("arm", arms, e.shape[1])
    if not len(r) == len(a) == len(e):
        raise DataError("rewards, arms and distributions have different lengths", fix="pass one of each per round")
    scores = np.zeros_like(e) if predictions is None else matrix("predictions", predictions, e.shape[1]).copy()
    rows = np.arange(len(r))
    own = e[rows, a]
    if (own <= 0).any():
        raise DataError(
            "the chosen arm had probability 0", fix="find out why the log holds it", row=int(np.argmax(own <= 0))
        )
    scores[rows, a] += (r - scores[rows, a]) / own
    return scores


def parts(rows: int) -> IntArray:
    """The stretch of time of each of n rows in time order, shape (n,): `PARTS` numbers, equally frequent."""
    return (np.arange(rows) * PARTS // max(rows, 1)).astype(np.int64)


def part_weights(noise: FloatArray, part: IntArray) -> FloatArray:
    """One weight for all rows of a part, shape (n,): mean noise^-1/2 of the part before; 0 where too much is unsupported.

    `noise` (n,) is the expected squared importance weight, sum_a target(a)^2 / e(a), infinite where the target's choice
    could not be logged. The first part that counts takes its own. Mean noise below 1, which only differences have, counts
    as 1. Source: Zhan, Ren, Athey and Zhou 2021, "non-contextual StableVar".
    """
    weights = np.zeros(len(noise))
    before = None
    for number in np.unique(part):
        rows = part == number
        known = np.isfinite(noise[rows])
        if float(np.mean(~known)) > MOST_UNSUPPORTED:
            continue
        own = max(float(noise[rows][known].mean()), 1.0)
        weights[rows] = np.where(known, (own if before is None else before) ** -0.5, 0.0)
        before = own
    return weights


def two_point_weights(probabilities: FloatArray, floor_decay: float) -> FloatArray:
    """Two-point allocation (Hadad et al. 2021, section 2.3): h = sqrt(g e), shape (T, K).

    `floor_decay` is alpha of the exploration floor C t^-alpha in force while logging, 0 <= alpha < 1. Only for logs whose
    probabilities do not follow a context.
    """
    if not 0 <= floor_decay < 1:
        raise DataError(f"the floor's decay is {floor_decay}", fix="a floor of C t^-alpha needs 0 <= alpha < 1")
    e = np.asarray(probabilities, dtype=np.float64)
    rounds = len(e)
    t = np.arange(1, rounds + 1, dtype=np.float64).reshape((-1,) + (1,) * (e.ndim - 1))
    decay = 1 - floor_decay
    pessimistic = decay / (decay + rounds * (t / rounds) ** floor_decay - t)
    share = np.clip((1 - e) * pessimistic + e / (1 + rounds - t), 0.0, 1.0)
    # g_t = lam_t prod_{s<t} (1 - lam_s): a stick broken round by round.
    left = np.cumprod(1 - share, axis=0)
    before = np.concatenate([np.ones_like(left[:1]), left[:-1]])
    return np.asarray(np.sqrt(share * before * e))


def weighted_value(
    scores: FloatArray, weights: FloatArray, alpha: float = 0.05, unit: IntArray | None = None
) -> WeightedEstimate:
    """Q = sum h G / sum h and its error, from scores and weights of shape (T,).

    `unit` holds a code from 0 per round: the terms of one unit are summed before they are squared.
    """
    total = float(weights.sum())
    if len(scores) < 2 or total <= 0:
        return WeightedEstimate(None, None, missing("no round carries weight for this arm"))
    value = float(weights @ scores) / total
    return _estimate(value, weights * (scores - value) / total, alpha, unit)


def _estimate(value: float, terms: FloatArray, alpha: float, unit: IntArray | None) -> WeightedEstimate:
    """Value with the error of its centred terms, and a note when few of them carry it."""
    squares = (terms if unit is None else np.bincount(unit, weights=terms)) ** 2
    error = sqrt(float(squares.sum()))
    fourth = float(squares @ squares)
    effective = float(squares.sum()) ** 2 / fourth if fourth > 0 else float(len(squares))
    note = ""
    if effective < MIN_EFFECTIVE_ROUNDS:
        counted = "rounds" if unit is None else "units"
        note = (
            f"rests on about {effective:.0f} effective {counted} ({MIN_EFFECTIVE_ROUNDS:.0f} wanted), so that it covers "
            "less often than it says: keep a lasting exploration floor"
        )
    return WeightedEstimate(value, error, normal(value, error, alpha, note=note))


def arm_values(
    scores: FloatArray, weights: FloatArray, alpha: float = 0.05, unit: IntArray | None = None
) -> list[WeightedEstimate]:
    """`weighted_value` of every arm, scores and weights (T, K)."""
    return [weighted_value(scores[:, k], weights[:, k], alpha, unit) for k in range(scores.shape[1])]


def contrast(
    scores: FloatArray, weights: FloatArray, arms: tuple[int, int], alpha: float = 0.05, unit: IntArray | None = None
) -> WeightedEstimate:
    """Value of the first of two arms minus that of the second, with the covariance of their scores in the error.

    Source: Hadad et al. 2021.
    """
    totals = weights.sum(axis=0)
    if len(scores) < 2 or min(totals[k] for k in arms) <= 0:
        return WeightedEstimate(None, None, missing("no round carries weight for one of the arms"))
    parts = []
    values = []
    for k in arms:
        h = weights[:, k] / totals[k]
        values.append(float(h @ scores[:, k]))
        parts.append(h * (scores[:, k] - values[-1]))
    return _estimate(values[0] - values[1], parts[0] - parts[1], alpha, unit)


def action_values(
    rewards: ArrayLike,
    actions: ArrayLike,
    probabilities: ArrayLike,
    alpha: float = 0.05,
    unit: IntArray | None = None,
) -> list[ActionValue]:
    """Value of every action of a log in time order: doubly robust scores, running means, a weight per stretch of time.

    actions (T,) codes; probabilities (T, K) logged distributions, which may follow a context. A stretch in which an action
    could not be chosen does not count for it. Raises `DataError` where a distribution does not sum to 1 or the logged
    action had probability 0.
    """
    e = distributions("the logged distribution", probabilities)
    scores = arm_scores(rewards, actions, e, running_means(rewards, actions, e.shape[1]))
    noise = np.divide(1.0, e, out=np.full_like(e, np.inf), where=e > 0)
    part = parts(len(e))
    weights = np.column_stack([part_weights(noise[:, k], part) for k in range(e.shape[1])])
    return [
        ActionValue(value, None if k == 0 else contrast(scores, weights, (k, 0), alpha, unit))
        for k, value in enumerate(arm_values(scores, weights, alpha, unit))
    ]
