"""Turns encoded lines into vectors of columns near [-1, 1] for beliefs, and into scaled lines for Vowpal Wabbit.

A `Columns` is made from a scaler alone, so the same scaler gives the same vectors everywhere. The first column is always 1.
"""

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from bandits.distribution import FloatArray
from bandits.learner.scaling import LineScaler
from bandits.learner.tokens import Tokens, action_key, read_line

KERNEL_SEED: Final = 20_071  # any fixed number: it makes the kernel's directions the same everywhere
SHARED: Final = 256  # dimensions of a vector for actions with features of their own
_SPREAD: Final = 0x9E3779B1  # 2^32 / golden ratio: spreads column numbers over the dimensions


class Columns:
    """The columns of one kind of line."""

    def __init__(self, scaler: LineScaler, most: int) -> None:
        """:param most: the largest number of columns; numbers come first, then the most frequent words."""
        self._rules = {name: rule for name, rule in scaler.numbers.items() if rule.used}
        self._off = frozenset(scaler.off)
        names = [*self._rules][: most - 1]
        missing = [f"{name}?" for name, rule in scaler.numbers.items() if rule.indicator]
        self._missing = {name[:-1]: name for name in missing}
        wanted = [*names, *missing, *scaler.words]
        columns = wanted[: most - 1]
        self.left_out = len(self._rules) + len(missing) + len(scaler.words) - len(columns)
        self._at = {name: place for place, name in enumerate(columns, start=1)}
        self.size = 1 + len(columns)

    def vector(self, tokens: Tokens) -> FloatArray:
        """One vector, shape (size,)."""
        row = np.zeros(self.size)
        row[0] = 1.0
        at = self._at
        for name, rule in self._rules.items():
            if name in tokens.numbers and name in at:
                row[at[name]] = rule.scaled(tokens.numbers[name])
        for name, column in self._missing.items():
            if name not in tokens.numbers and column in at:
                row[at[column]] = 1.0
        for word in tokens.words:
            index = at.get(word)
            if index is not None:
                row[index] = 1.0
        return row

    def words(self, tokens: Tokens) -> list[str]:
        """The scaled features in Vowpal Wabbit's text format, without those that are switched off."""
        out = []
        for name, value in tokens.numbers.items():
            rule = self._rules.get(name)
            if rule is not None:
                out.append(f"{name}:{rule.scaled(value):.6g}")
        out += [f"{name}==missing" for name in self._missing if name not in tokens.numbers]
        out += [word for word in tokens.words if not self._off or word.partition("=")[0] not in self._off]
        return out


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


class SharedVectors:
    """Vectors for actions with features: the action's columns, its id, and id x context, hashed into SHARED dimensions."""

    def __init__(self, actions: Columns) -> None:
        self._actions = actions

    def of(self, context: FloatArray, lines: Sequence[str]) -> FloatArray:
        """Vectors of the given action lines in one context (d,), shape (K, SHARED)."""
        out = np.zeros((len(lines), SHARED))
        steps = np.arange(1, context.size + 1, dtype=np.uint64) * np.uint64(_SPREAD)
        for row, line in zip(out, lines, strict=True):
            own = self._actions.vector(read_line(line))
            head = min(own.size, SHARED // 2)
            row[:head] = own[:head]
            places = (np.uint64(zlib.crc32(action_key(line).encode())) + steps) & np.uint64(0xFFFFFFFF)
            signs = np.where(places & np.uint64(1 << 31), 1.0, -1.0)
            span = SHARED - head
            np.add.at(row, head + (places % np.uint64(span)).astype(np.intp), signs * context)
        return out
