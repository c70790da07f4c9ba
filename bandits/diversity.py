"""Diversity of a list in the draw: an action that is like one above it gets less probability.

At a position the distribution becomes q(a) ~ p(a) (1 - weight * max over the actions b above of similarity(a, b)), which is the
penalty of maximal marginal relevance (Carbonell and Goldstein 1998) on probabilities in place of scores. The similarity
is Jaccard's: the features that both have, as a share of those that either has. The action's id is not one of them.
With a weight below 1 whatever had a probability keeps one, so that every propensity stays positive.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from bandits.distribution import FloatArray

MAX_WEIGHT: Final = 0.99
LINES: Final = 4096
PAIRS: Final = 16_384


def diversified(
    probabilities: FloatArray, action_lines: Sequence[str], above: Sequence[str], weight: float
) -> FloatArray:
    """The distribution with the penalty, shape (K,), summing to 1 within 1e-12; the same object where nothing is alike.

    :param above: encoded lines of the actions at earlier positions.
    :param weight: at least 0 and at most `MAX_WEIGHT`.
    """
    if weight <= 0.0 or not above:
        return probabilities
    penalties = [max([similarity(line, other) for other in above]) for line in action_lines]
    if max(penalties) <= 0.0:
        return probabilities
    chances = [
        chance * (1.0 - weight * penalty) for chance, penalty in zip(probabilities.tolist(), penalties, strict=True)
    ]
    total = math.fsum(chances)
    return np.array([chance / total for chance in chances])


@lru_cache(PAIRS)
def similarity(line: str, other: str) -> float:
    """Jaccard's similarity of the features of two encoded actions, between 0 and 1; 0 where neither has any."""
    features, others = _features(line), _features(other)
    either = len(features | others)
    return len(features & others) / either if either else 0.0


@lru_cache(LINES)
def _features(line: str) -> frozenset[str]:
    return frozenset(line.split(" ")[2:])  # after "|a" and the id
