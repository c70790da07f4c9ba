"""Off-policy values of slates: L slots filled at once, logged with a probability per slot.

slot_weights (n, L): target over logged probability of each slot's item, conditional on the slots above when the
policies choose in order. Each estimator reduces variance through an assumption about rewards, named in its `estimand`.
This module must never guess which assumption holds.
"""

from __future__ import annotations

import numpy as np

from experiments.off_policy.estimators import Estimate
from experiments.validation import ArrayLike, DataError, FloatArray, matrix, refuse_first, vector


def standard_ips(slot_weights: ArrayLike, slate_reward: ArrayLike) -> Estimate:
    """SIPS: product of all slot weights times the slate's reward. No assumption; variance grows with the slots."""
    w = _weights(slot_weights)
    return _estimate(
        "slate_ips", w.prod(axis=1) * _rewards(slate_reward, len(w)), "the slate's value, without assumption"
    )


def pseudo_inverse(slot_weights: ArrayLike, slate_reward: ArrayLike) -> Estimate:
    """PI (Swaminathan et al. 2017): (1 - L + sum of slot weights) times the slate's reward, for product logging."""
    w = _weights(slot_weights)
    factor = 1 - w.shape[1] + w.sum(axis=1)
    estimand = "the slate's value, if its reward is a sum of slots' contributions"
    return _estimate("pseudo_inverse", factor * _rewards(slate_reward, len(w)), estimand)


def independent_ips(slot_weights: ArrayLike, slot_rewards: ArrayLike) -> Estimate:
    """IIPS (Li et al. 2018): sum over slots of that slot's weight times its reward (item-position click model)."""
    w, r = _weights(slot_weights), _slot_rewards(slot_rewards, slot_weights)
    estimand = "the sum of slot rewards, if a slot's reward depends on its own item only"
    return _estimate("independent_ips", (w * r).sum(axis=1), estimand)


def reward_interaction_ips(slot_weights: ArrayLike, slot_rewards: ArrayLike) -> Estimate:
    """RIPS (McInerney et al. 2020): slot l weighted by the product of weights of slots 1..l (cascade model)."""
    w, r = _weights(slot_weights), _slot_rewards(slot_rewards, slot_weights)
    estimand = "the sum of slot rewards, if a slot's reward depends on its own and earlier items only"
    return _estimate("reward_interaction_ips", (np.cumprod(w, axis=1) * r).sum(axis=1), estimand)


def _weights(values: ArrayLike) -> FloatArray:
    w = matrix("slot weights", values)
    lightest = w.min(axis=1)
    refuse_first(lightest < 0, lightest, "a slot weight is {value}", "weights are ratios of probabilities, 0 or larger")
    return w


def _rewards(values: ArrayLike, n: int) -> FloatArray:
    r = vector("slate reward", values)
    if len(r) != n:
        raise DataError("rewards and weights have different lengths", fix="pass one reward per slate")
    return r


def _slot_rewards(values: ArrayLike, weights: ArrayLike) -> FloatArray:
    r = matrix("slot rewards", values)
    if r.shape != np.shape(weights):
        raise DataError("slot rewards and weights have different shapes", fix="pass both as (slates, slots)")
    return r


def _estimate(name: str, rows: FloatArray, estimand: str) -> Estimate:
    value = float(rows.mean())
    return Estimate(name, value, rows - value, estimand)
