"""A belief about a set of actions, laid out so that a decision among them is quick.

Every action has a block (d columns) here: its own, or the part of the shared belief that a context reaches. Most columns of a
context are words that it does not hold. A decision therefore reads only the pairs of columns that are not 0, for all actions
at once.
"""

from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import FloatArray
from bandits.learner.beliefs import Belief
from bandits.learner.columns import SharedActions
from bandits.learner.encoder import BUDGET

_PAIRED: Final = (
    2  # a row is read by pairs when at most every second column is not 0: they are then a quarter, or fewer
)


class Prepared:
    """A belief about K actions."""

    def __init__(self, weights: FloatArray, inverse: FloatArray, places: NDArray[np.int64] | None = None) -> None:
        """:param weights: (blocks, d).

        :param inverse: (blocks, d, d), A^-1.
        :param places: (K,), the block of each action; None if each has its own.
        """
        self._weights, self._inverse, self._places = weights, inverse, places
        self._by_column = np.ascontiguousarray(weights.T)
        size = weights.shape[1]
        self._begins = np.arange(size) * np.arange(1, size + 1) // 2

    @classmethod
    def of_blocks(cls, belief: Belief, blocks: NDArray[np.int64]) -> "Prepared":
        """Actions with blocks (K,) of a belief; unknown ones (-1) share a block of the prior."""
        known, places = np.unique(blocks, return_inverse=True)
        own = None if known.size == blocks.size and (places == np.arange(blocks.size)).all() else places
        if known.tolist() == list(range(len(belief.weights))):
            return cls(belief.weights, belief.inverse, own)
        unknown = np.diag(1.0 / belief.prior)
        weights = [belief.weights[block] if block >= 0 else np.zeros(len(unknown)) for block in known]
        inverse = [belief.inverse[block] if block >= 0 else unknown for block in known]
        return cls(np.array(weights), np.array(inverse), own)

    @classmethod
    def of_shared(cls, belief: Belief, actions: SharedActions) -> "Prepared | None":
        """Actions of the shared belief, of contexts (d,) whose first column is 1; None if that would take too much memory.

        An action's vector is M x, so its block has the weights M' w and the matrix M' A^-1 M.
        """
        k, size = actions.places.shape
        if k * size * size > BUDGET:
            return None
        weights, inverse = belief.weights[0], belief.inverse[0]
        signs, places, head = actions.signs, actions.places, actions.own.shape[1]
        means = weights.take(places) * signs
        means[:, 0] += actions.own @ weights[:head]
        # M has the action's own columns in its first column, beside what a context's columns are hashed to.
        squares = (
            inverse[places[:, :, np.newaxis], places[:, np.newaxis, :]] * signs[:, :, np.newaxis] * signs[:, np.newaxis]
        )
        own = np.take_along_axis(actions.own @ inverse[:head], places, axis=1) * signs
        squares[:, :, 0] += own
        squares[:, 0, :] += own
        squares[:, 0, 0] += ((actions.own @ inverse[:head, :head]) * actions.own).sum(axis=1)
        return cls(means, squares)

    def of_row(self, row: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means, and x' A^-1 x, which is the variance in units of the noise's: of one row (d,), for each action, shape (K,)."""
        there = np.flatnonzero(row)
        if _PAIRED * there.size > row.size:
            mean, variance = self._weights @ row, (self._inverse @ row) @ row
        else:
            values, (first, second) = row.take(there), _pairs(there.size)
            pairs = self._begins.take(there).take(first) + there.take(second)
            variance = (values.take(first) * values.take(second)) @ self._by_pair.take(pairs, axis=0)
            mean = values @ self._by_column.take(there, axis=0)
        if self._places is not None:
            mean, variance = mean.take(self._places), variance.take(self._places)
        return mean, np.maximum(variance, 0.0)

    @property
    def memory_bytes(self) -> int:
        """Of the blocks, and of their pairs where rows are read by pairs."""
        by_pair = vars(self).get("_by_pair")
        return self._inverse.nbytes + self._by_column.nbytes + (by_pair.nbytes if by_pair is not None else 0)

    @cached_property
    def _by_pair(self) -> FloatArray:
        """(d (d + 1) / 2, blocks): what each pair of columns adds to x' A^-1 x."""
        first, second = np.tril_indices(self._weights.shape[1])
        pairs = self._inverse[:, first, second] * np.where(first == second, 1.0, 2.0)
        return np.ascontiguousarray(pairs.T)


@lru_cache(maxsize=256)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.tril_indices(count)
