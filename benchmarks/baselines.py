"""LinUCB and linear Thompson sampling, the methods that Loopwise is compared with: disjoint per action, standardised features.

Li et al. 2010 ("A contextual-bandit approach to personalized news article recommendation", algorithm 1) and Agrawal & Goyal 2013.
They see what the platform does not: each column's mean and spread over all rounds, the future included.
"""

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import FloatArray


def linear(
    contexts: FloatArray,
    labels: NDArray[np.int64],
    actions: int,
    *,
    ucb: float = 0.0,
    draw: float = 0.0,
    round_size: int = 100,
) -> float:
    """Mean reward over rows (n, d), where an action pays 1 if it is the row's label (n,).

    :param ucb: LinUCB's width of the bound, alpha.
    :param draw: scale of the posterior from which linear Thompson sampling draws weights; 0: it does not draw.
    """
    n, size = contexts.shape
    random = np.random.default_rng(0)
    gram, moment = np.stack([np.eye(size)] * actions), np.zeros((actions, size))
    inverse, weights, earned = gram.copy(), np.zeros((actions, size)), 0.0
    for first in range(0, n, round_size):
        roots = np.linalg.cholesky(inverse + 1e-9 * np.eye(size))
        for row in range(first, min(n, first + round_size)):
            x = contexts[row]
            drawn = weights + draw * np.einsum("kij,kj->ki", roots, random.standard_normal((actions, size)))
            score = drawn @ x + ucb * np.sqrt(np.einsum("i,kij,j->k", x, inverse, x))
            chosen = int((score + 1e-9 * random.random(actions)).argmax())
            reward = float(chosen == labels[row])
            earned += reward
            gram[chosen] += np.outer(x, x)
            moment[chosen] += reward * x
        inverse = np.asarray(np.linalg.inv(gram), dtype=np.float64)
        weights = np.einsum("kij,kj->ki", inverse, moment)
    return float(earned / n)


def standardised(columns: list[list[float] | list[str]]) -> FloatArray:
    """Columns as a matrix (n, d) with a leading 1: numbers standardised, words as indicators."""
    out = [np.ones(len(columns[0]))]
    for column in columns:
        if isinstance(column[0], str):
            out += [np.array([float(value == word) for value in column]) for word in sorted({*column})]
        else:
            values = np.array(column, dtype=np.float64)
            out.append((values - values.mean()) / (values.std() or 1.0))
    return np.stack(out, axis=1)
