"""How exposure spreads over actions or groups of actions, and whether it runs ahead of what they are worth.

Shares come from logged distributions, so they are exact for the log: no interval stands around them. This module must never
use how often an action was drawn as its exposure where the distribution is known.
"""

from __future__ import annotations

from math import log, sqrt
from typing import NamedTuple

import numpy as np

from experiments.results import Interval, missing
from experiments.sequences import asymptotic
from experiments.validation import FloatArray

MIN_ACTIONS = 3
"""With fewer actions a slope says nothing."""
GATE = 100.0
"""Units from which on the slope has an interval."""


class Spread(NamedTuple):
    """How evenly exposure is spread; all between 0 and 1."""

    gini: float
    """0: all get the same; (K - 1) / K: one gets everything (Gini 1912)."""
    smallest: float
    """The smallest share."""
    entropy: float
    """Shannon's, divided by log K; 1: all get the same. 1 for a single group."""


class Slope(NamedTuple):
    """The popularity slope: relative exposure per relative value."""

    value: float | None
    """1: exposure in proportion to value; more: it runs ahead of it. None with a reason in the interval."""
    interval: Interval
    """For every look, asymptotically in units."""


def spread(shares: FloatArray) -> Spread:
    """The spread of K shares that sum to 1, shape (K,)."""
    ordered = np.sort(shares)
    count = len(ordered)
    ranks = np.arange(1, count + 1)
    gini = float((2 * ranks - count - 1) @ ordered) / count
    return Spread(max(gini, 0.0), float(ordered[0]), entropy(shares))


def entropy(shares: FloatArray) -> float:
    """Shannon's entropy of K shares, shape (K,), divided by log K: between 0 and 1."""
    if len(shares) < 2:
        return 1.0
    positive = shares[shares > 0]
    return min(1.0, max(0.0, float(-(positive @ np.log(positive)) / log(len(shares)))))


def coverage(drawn: FloatArray) -> float:
    """Share of the K actions that were drawn at least once; `drawn` are counts, shape (K,)."""
    return float(np.mean(drawn > 0))


def popularity(exposed: FloatArray, reward: FloatArray, weight: FloatArray, units: int, alpha: float = 0.05) -> Slope:
    """The slope of relative exposure on relative value over K actions, with its jackknife over B blocks of units.

    An action's value is sum(r / p) / sum(1 / p) over the decisions that drew it (self-normalised inverse propensity weights;
    Swaminathan and Joachims 2015). Noise in the values pulls the slope towards 0, so that an excess is not found too often.

    :param exposed: sums of logged probabilities by block and action, shape (B, K); `reward` and `weight`: of r / p and 1 / p.
    """
    whole = _slope(exposed.sum(axis=0), reward.sum(axis=0), weight.sum(axis=0))
    if whole is None:
        return Slope(None, missing(f"it needs {MIN_ACTIONS} actions with different values"))
    blocks = [index for index in range(len(exposed)) if exposed[index].sum() > 0]
    left = [
        _slope(*(np.delete(sums, index, axis=0).sum(axis=0) for sums in (exposed, reward, weight))) for index in blocks
    ]
    known = np.array([slope for slope in left if slope is not None])
    if len(known) < len(blocks) or len(known) < 2:
        return Slope(whole, missing("too few users"))
    count = len(known)
    error = sqrt((count - 1) / count * float(((known - known.mean()) ** 2).sum()))
    return Slope(whole, asymptotic(whole, error, units, effective=units, gate=GATE, alpha=alpha))


def _slope(exposed: FloatArray, reward: FloatArray, weight: FloatArray) -> float | None:
    known = weight > 0
    if known.sum() < MIN_ACTIONS:
        return None
    value = reward[known] / weight[known]
    share = exposed[known] / exposed[known].sum()
    if value.mean() <= 0 or float(np.ptp(value)) <= 1e-12 * float(np.abs(value).max()):
        return None
    relative = value / value.mean() - 1.0
    return float(relative @ (share * len(share) - 1.0)) / float(relative @ relative)
