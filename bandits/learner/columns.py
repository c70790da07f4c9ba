"""Turns encoded lines into vectors of columns near [-1, 1] for beliefs, and into scaled lines for Vowpal Wabbit.

A `Columns` is made from a scaler alone, so the same scaler gives the same vectors everywhere. The first column is always 1.
"""

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import FloatArray
from bandits.learner.scaling import LineScaler
from bandits.learner.tokens import Tokens, action_key, feature_of, read_line

KERNEL_SEED: Final = 20_071  # any fixed number: it makes the kernel's directions the same everywhere
LINES: Final = 4096  # action lines that are kept
SHARED: Final = 256  # dimensions of a vector for actions with features of their own
_SPREAD: Final = 0x9E3779B1  # 2^32 / golden ratio: spreads column numbers over the dimensions


class Columns:
    """The columns of one kind of line."""

    def __init__(self, scaler: LineScaler, most: int) -> None:
        """:param most: the largest number of columns; numbers come first, then the most frequent words."""
        self._rules = {name: rule for name, rule in scaler.numbers.items() if rule.used}
        self._off = frozenset(scaler.off)
        self._missing = {name: f"{name}==missing" for name, rule in scaler.numbers.items() if rule.indicator}
        wanted = [*[*self._rules][: most - 1], *self._missing.values(), *scaler.words]
        columns = wanted[: most - 1]
        self.left_out = len(self._rules) + len(self._missing) + len(scaler.words) - len(columns)
        self._at = {name: place for place, name in enumerate(columns, start=1)}
        self.size = 1 + len(columns)

    def read(self, line: str) -> Tokens:
        """The features of a line at their own scale, without those that are switched off; that a number is missing is a word."""
        numbers, words = read_line(line)
        rules = self._rules
        scaled = {name: rules[name].scaled(value) for name, value in numbers.items() if name in rules}
        if self._off:
            words = [word for word in words if feature_of(word) not in self._off]
        missing = [word for name, word in self._missing.items() if name not in numbers]
        return Tokens(scaled, missing + words)

    def vector(self, features: Tokens) -> FloatArray:
        """The vector of a line that was read, shape (size,)."""
        row, at = np.zeros(self.size), self._at
        row[0] = 1.0
        for name, value in features.numbers.items():
            if name in at:
                row[at[name]] = value
        for word in features.words:
            if word in at:
                row[at[word]] = 1.0
        return row


def text_of(features: Tokens, kind: str) -> str:
    """A line that was read in Vowpal Wabbit's text format; it begins with `kind`."""
    return " ".join([kind, *[f"{name}:{value:.6g}" for name, value in features.numbers.items()], *features.words])


@lru_cache(maxsize=64)
def kernel_directions(inputs: int, features: int) -> tuple[FloatArray, FloatArray]:
    """Random directions (inputs, features) and phases (features,) of a Gaussian kernel of width sqrt(inputs).

    Random Fourier features (Rahimi & Recht 2007): the products of cos(directions' x + phases) approach the kernel
    exp(-|x - y|^2 / (2 inputs)). The generator is PCG64 with a fixed seed, whose stream numpy keeps stable.
    """
    random = np.random.Generator(np.random.PCG64(KERNEL_SEED))
    return random.standard_normal((inputs, features)) / math.sqrt(inputs), random.uniform(0.0, 2.0 * math.pi, features)


def with_kernel(contexts: FloatArray, features: int) -> FloatArray:
    """Contexts (n, d) with random Fourier features appended, shape (n, d + features).

    The appended part has the squared length d - 1, like a standardised context, so both parts have the same say.
    """
    inputs = contexts.shape[1] - 1
    if inputs == 0 or features == 0:
        return contexts
    directions, phases = kernel_directions(inputs, features)
    # Without BLAS, whose sums differ between machines: the same context gives the same bits.
    angles = np.einsum("ni,if->nf", contexts[:, 1:], directions) + phases
    return np.concatenate((contexts, math.sqrt(2.0 * inputs / features) * np.cos(angles)), axis=1)


def one_with_kernel(context: FloatArray, features: int) -> FloatArray:
    """The same for one context (d,), of a decision: sooner, and equal up to the last bits."""
    inputs = context.size - 1
    directions, phases = kernel_directions(inputs, features)
    return np.concatenate((context, math.sqrt(2.0 * inputs / features) * np.cos(context[1:] @ directions + phases)))


class SharedActions(NamedTuple):
    """Some actions as the shared belief sees them, whatever the context."""

    own: FloatArray  # (K, head): the actions' own columns
    places: NDArray[np.intp]  # (K, d): dimension of each column of the context
    signs: FloatArray  # (K, d)

    @property
    def memory_bytes(self) -> int:
        """Of the arrays."""
        return self.own.nbytes + self.places.nbytes + self.signs.nbytes

    def sparse(self, context: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Dimensions (K, m) and values (K, m) of the actions' vectors in one context (d,). Values of equal dimensions add up."""
        there = np.flatnonzero(context)  # most words are not
        k, head = self.own.shape
        places = np.concatenate((np.broadcast_to(np.arange(head), (k, head)), self.places[:, there]), axis=1)
        return places, np.concatenate((self.own, self.signs[:, there] * context[there]), axis=1)

    def vectors(self, context: FloatArray) -> FloatArray:
        """The actions' vectors in one context (d,), shape (K, SHARED)."""
        return dense(*self.sparse(context))


def dense(places: NDArray[np.intp], values: FloatArray) -> FloatArray:
    """Vectors (K, SHARED) from their dimensions and values (K, m)."""
    k = len(places)
    rows = np.arange(k, dtype=np.intp)[:, np.newaxis] * SHARED
    sums = np.asarray(np.bincount((places + rows).ravel(), values.ravel(), k * SHARED), dtype=np.float64)
    return sums.reshape(k, SHARED)


class SharedVectors:
    """Vectors for actions with features: the action's columns, its id, and id x context, hashed into SHARED dimensions."""

    def __init__(self, actions: Columns, size: int) -> None:
        """:param size: of a context's vector."""
        self._actions = actions
        self._head = min(actions.size, SHARED // 2)
        self._steps = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(_SPREAD)
        self._of_line = lru_cache(LINES)(self._hashed)

    def prepare(self, lines: Sequence[str]) -> SharedActions:
        """The given action lines."""
        own, places, signs = zip(*map(self._of_line, lines), strict=True)
        return SharedActions(np.stack(own), np.stack(places), np.stack(signs))

    def _hashed(self, line: str) -> tuple[FloatArray, NDArray[np.intp], FloatArray]:
        hashes = (np.uint64(zlib.crc32(action_key(line).encode())) + self._steps) & np.uint64(0xFFFFFFFF)
        signs = np.where(hashes & np.uint64(1 << 31), 1.0, -1.0)
        places = self._head + (hashes % np.uint64(SHARED - self._head)).astype(np.intp)
        return self._actions.vector(self._actions.read(line))[: self._head], places, signs
