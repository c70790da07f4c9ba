"""Encodes rows of a log, and the actions of a decision, for every candidate at once.

How many columns and which beliefs there are depends on the scaler and the actions alone, within a budget of numbers, so that
a model never grows with the log, the catalogue or the size of a context.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import FloatArray
from bandits.learner.columns import (
    LINES,
    SHARED,
    Columns,
    SharedActions,
    SharedVectors,
    one_with_kernel,
    text_of,
    with_kernel,
)
from bandits.learner.scaling import Scaler
from bandits.learner.tokens import action_key

BUDGET: Final = 300_000  # numbers of one belief: blocks x columns^2
MOST_BLOCKS: Final = 1000  # actions with a block of their own
KERNEL: Final = 120  # random features, where the budget bears them
LEAST_KERNEL: Final = 30
MOST_PRODUCTS: Final = 60  # columns; with more, the products of two context features are too many


class Row(NamedTuple):
    """A decision as learners see it."""

    shared_line: str
    action_line: str  # of the chosen action
    reward: float  # in [0, 1]: 1 - cost


class Encoded(NamedTuple):
    """Rows that are ready for every candidate."""

    block: NDArray[np.int64]  # (n,): number of the action; -1: it has no block
    vectors: Mapping[str, FloatArray]  # by belief: (n, d)
    lines: Sequence[tuple[str, str]]  # scaled context and action, for Vowpal Wabbit
    rewards: FloatArray  # (n,), in [0, 1]

    def take(self, rows: slice) -> "Encoded":
        """Some of the rows."""
        vectors = {name: table[rows] for name, table in self.vectors.items()}
        return Encoded(self.block[rows], vectors, self.lines[rows], self.rewards[rows])


class Encoder:
    """The encoding that a scaler and the known actions give."""

    def __init__(self, scaler: Scaler, actions: Sequence[str], planned: int) -> None:
        """:param planned: number of blocks that the sizes are made for; 0: no action has a block."""
        self.actions = {key: number for number, key in enumerate(actions)}
        most = math.isqrt(BUDGET // max(planned, 1))
        self._contexts = Columns(scaler.contexts, min(most, 400))
        self._own = Columns(scaler.actions, SHARED // 2)
        self._shared = SharedVectors(self._own, self._contexts.size)
        rest = min(most - self._contexts.size, KERNEL)
        self._kernel = rest if rest >= LEAST_KERNEL and self._contexts.size > 1 else 0
        self.action_line = lru_cache(LINES)(self._scaled_action)
        """The scaled line of an action; its id stays."""
        featured = self._own.size > 1
        blocks = 0 < planned <= MOST_BLOCKS
        self.beliefs = tuple(
            name
            for name, there in (
                ("linear", blocks),
                ("kernel", blocks and self._kernel > 0),
                ("shared", featured or not blocks),
            )
            if there
        )
        self.columns = self._contexts.size - 1
        self.left_out = self._contexts.left_out  # features of contexts that beliefs have no column for
        self.products = self._contexts.size <= MOST_PRODUCTS

    def sizes(self, belief: str) -> tuple[int, int]:
        """(blocks, columns) of a belief."""
        if belief == "shared":
            return 1, SHARED
        return len(self.actions), self._contexts.size + (self._kernel if belief == "kernel" else 0)

    def rows(self, rows: Sequence[Row]) -> Encoded:
        """Encodes rows of the log."""
        read = [self._contexts.read(row.shared_line) for row in rows]
        contexts = np.stack([self._contexts.vector(features) for features in read]) if rows else np.zeros((0, 1))
        shared = (
            np.concatenate([self.shared([row.action_line]).vectors(x) for x, row in zip(contexts, rows, strict=True)])
            if "shared" in self.beliefs
            else None
        )
        lines = [
            (text_of(features, "shared |c"), self.action_line(row.action_line))
            for features, row in zip(read, rows, strict=True)
        ]
        return Encoded(
            np.array([self.block(row.action_line) for row in rows], dtype=np.int64),
            self._vectors(contexts, shared),
            lines,
            np.array([row.reward for row in rows]),
        )

    def block(self, action_line: str) -> int:
        """The number of an action; -1 without a block."""
        return self.actions.get(action_key(action_line), -1)

    def context(self, shared_line: str, *, scaled: bool) -> tuple[FloatArray, str]:
        """The vector (d,) of one context, and its scaled line if a regression reads it."""
        features = self._contexts.read(shared_line)
        return self._contexts.vector(features), text_of(features, "shared |c") if scaled else ""

    def _scaled_action(self, line: str) -> str:
        return text_of(self._own.read(line), "|a")

    def vector(self, belief: str, context: FloatArray) -> FloatArray:
        """The vector of a context (d,) for a belief with a block per action."""
        return one_with_kernel(context, self._kernel) if belief == "kernel" else context

    def shared(self, action_lines: Sequence[str]) -> SharedActions:
        """The actions of decisions for the shared belief."""
        return self._shared.prepare(action_lines)

    def _vectors(self, contexts: FloatArray, shared: FloatArray | None) -> dict[str, FloatArray]:
        vectors = {}
        for name in self.beliefs:
            if name == "linear":
                vectors[name] = contexts
            elif name == "kernel":
                vectors[name] = with_kernel(contexts, self._kernel)
            elif shared is not None:
                vectors[name] = shared
        return vectors
