"""Values of arms and policies from logs that a learning bandit collected: adaptively weighted doubly robust scores.

On such logs raw means are biased (downwards for arms that were dropped after bad luck), and unweighted scores are
unbiased but need not be normal once probabilities shrink. Weighting each score by what was known before it restores a
valid interval (Hadad, Hirshberg, Zhan, Wager and Athey 2021; Zhan et al. 2021; Bibaut et al. 2021). Estimand: an arm's
(or policy's) mean reward over the logged contexts. Needs true propensities with a floor of order t^-alpha, alpha < 1,
and predictions made from earlier rounds only. This module must never use a round to predict or to weight itself.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from experiments.intervals import normal
from experiments.results import Interval, missing
from experiments.validation import ArrayLike, DataError, FloatArray, IntArray, codes, distributions, matrix, vector

MIN_EFFECTIVE_ROUNDS = 50.0
"""In simulation intervals with fewer terms behind their error covered 88 to 93%."""


class WeightedEstimate(NamedTuple):
    """A value from weighted scores."""

    value: float | None
    """In the unit of the reward; None when all weights are 0."""
    std_error: float | None
    """sqrt(sum h^2 (G - Q)^2) / sum h, same unit."""
    interval: Interval
    """Normal, for one pre-declared look; its note says when too few rounds carry the error."""


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
        raise DataError("the chosen arm had probability 0", fix="the log is wrong there", row=int(np.argmax(own <= 0)))
    scores[rows, a] += (r - scores[rows, a]) / own
    return scores


def stable_weights(probabilities: FloatArray) -> FloatArray:
    """StableVar: h = sqrt(e), any shape. Keeps the variance of h G steady as probabilities shrink."""
    return np.sqrt(probabilities)


def two_point_weights(probabilities: FloatArray, floor_decay: float) -> FloatArray:
    """Two-point allocation (Hadad et al. 2021, section 2.3): h = sqrt(g e), shape (T, K).

    `floor_decay` is alpha of the exploration floor C t^-alpha in force while logging, 0 <= alpha < 1.
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


def weighted_value(scores: FloatArray, weights: FloatArray, alpha: float = 0.05) -> WeightedEstimate:
    """Q = sum h G / sum h and its error, from scores and weights of shape (T,)."""
    total = float(weights.sum())
    if len(scores) < 2 or total <= 0:
        return WeightedEstimate(None, None, missing("no round carries weight for this arm"))
    value = float(weights @ scores) / total
    return _estimate(value, weights * (scores - value) / total, alpha)


def _estimate(value: float, terms: FloatArray, alpha: float) -> WeightedEstimate:
    """Value with the error of its centred terms, and a note when few of them carry it."""
    squares = terms**2
    error = sqrt(float(squares.sum()))
    fourth = float(squares @ squares)
    effective = float(squares.sum()) ** 2 / fourth if fourth > 0 else float(len(terms))
    note = ""
    if effective < MIN_EFFECTIVE_ROUNDS:
        note = (
            f"rests on about {effective:.0f} effective rounds ({MIN_EFFECTIVE_ROUNDS:.0f} wanted), so that it covers "
            "less often than it says: keep a lasting exploration floor"
        )
    return WeightedEstimate(value, error, normal(value, error, alpha, note=note))


def arm_values(scores: FloatArray, weights: FloatArray, alpha: float = 0.05) -> list[WeightedEstimate]:
    """`weighted_value` of every arm, scores and weights (T, K)."""
    return [weighted_value(scores[:, k], weights[:, k], alpha) for k in range(scores.shape[1])]


def contrast(scores: FloatArray, weights: FloatArray, arm: int, against: int, alpha: float = 0.05) -> WeightedEstimate:
    """Value of `arm` minus that of `against`, with the covariance of their scores in the error (Hadad et al. 2021)."""
    totals = weights.sum(axis=0)
    if len(scores) < 2 or totals[arm] <= 0 or totals[against] <= 0:
        return WeightedEstimate(None, None, missing("no round carries weight for one of the arms"))
    parts = []
    values = []
    for k in (arm, against):
        h = weights[:, k] / totals[k]
        values.append(float(h @ scores[:, k]))
        parts.append(h * (scores[:, k] - values[-1]))
    return _estimate(values[0] - values[1], parts[0] - parts[1], alpha)


def policy_scores(scores: FloatArray, target: ArrayLike) -> FloatArray:
    """Scores of a policy from arms' scores: sum_a pi(a|x_t) G[t, a], shape (T,). `target` is (T, K)."""
    pi = distributions("the target distribution", target, scores.shape[1])
    return np.asarray((pi * scores).sum(axis=1))


def expected_weight_square(target: FloatArray, logging: FloatArray) -> FloatArray:
    """phi(x) = sum_a pi(a|x)^2 / p(a|x), shape (rows,): the variance scale of a policy's score at a context."""
    used = target > 0
    if (used & (logging <= 0)).any():
        row = int(np.argmax((used & (logging <= 0)).any(axis=1)))
        raise DataError("the target uses an arm with logged probability 0", fix="no score exists there", row=row)
    return np.asarray(np.divide(target**2, logging, out=np.zeros_like(target), where=used).sum(axis=1))


def noncontextual_weights(phi: ArrayLike, *, exponent: float = -0.5) -> FloatArray:
    """h_t = (mean of phi over EARLIER rounds)^exponent, shape (T,): -1/2 StableVar, -1 MinVar (Bibaut et al. 2021).

    phi: (T,) values of `expected_weight_square` of each round's policy at its context. The first round uses its own
    upper stand-in, the second round's mean, because nothing came before it.
    """
    values = vector("phi", phi, minimum_length=2)
    before = np.concatenate(([values[0]], np.cumsum(values)[:-1] / np.arange(1, len(values))))
    before[0] = before[1]
    return np.asarray(before**exponent)


def contextual_stable_value(
    scores: FloatArray, phi_by_version: FloatArray, version: IntArray, alpha: float = 0.05
) -> WeightedEstimate:
    """Contextual StableVar (Zhan et al. 2021): weights that depend on the context and on the version in force.

    scores (T,) of the target policy; phi_by_version (B, T): `expected_weight_square` of EVERY policy version at EVERY
    logged context (past contexts re-scored under past versions); version (T,) codes of the version in force. With
    h_t(x) = phi_t(x)^(-1/2), H(x) = sum_s h_s(x): Q = sum_t h_t(x_t) / H(x_t) G_t.
    """
    phi = matrix("phi_by_version", phi_by_version, len(scores))
    if (phi <= 0).any():
        raise DataError("phi_by_version holds a value that is not above 0", fix="pass sum of pi^2 / p over arms")
    h = phi**-0.5
    pulls = np.bincount(version, minlength=len(phi)).astype(np.float64)
    share = h / (pulls @ h)
    own = share[version, np.arange(len(scores))]
    terms = own * scores
    value = float(terms.sum())
    centre = share @ terms
    return _estimate(value, terms - centre[version], alpha)
