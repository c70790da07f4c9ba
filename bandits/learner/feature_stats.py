"""Statistics of every feature of a log, in one pass: what `bandits.learner.scaling` decides from.

Parts of a log can be counted apart and merged in log order. Counts, limits, samples and distinct values are then the same as in
one pass, means and spreads up to rounding. Memory is bounded: each number keeps a sample of the rows with the smallest hashes
(bottom-k sampling, Cohen & Kaplan 2007), which depends neither on the order of the rows nor on a random generator.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bandits.distribution import FloatArray
from bandits.learner.tokens import read_line

SAMPLE: Final = 512  # rows in the sample of a number
MAX_DISTINCT: Final = 256  # distinct values that are counted exactly
MAX_NUMBERS: Final = 2048  # names of numbers; of more, the most frequent stay
MAX_WORDS: Final = 8192  # indicators; of more, the most frequent stay


@dataclass
class NumberStats:
    """One number, over the rows that have it. Values are in the feature's own unit."""

    present: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean (Welford 1962; merged as in Chan et al. 1983)
    low: float = math.inf
    high: float = -math.inf
    whole: bool = True  # every value is a whole number
    rises: int = 0  # rows whose value is above that of the row before
    falls: int = 0
    first: float = math.nan
    last: float = math.nan
    distinct: set[float] = field(default_factory=set)  # at most MAX_DISTINCT + 1
    sample: dict[int, float] = field(default_factory=dict)  # row hash -> value
    limit: int = 1 << 64  # a row whose hash is not below cannot be among the smallest

    def add(self, value: float, row_hash: int) -> None:
        """Counts one finite value."""
        self._step(value)
        self.last = value
        self.present += 1
        delta = value - self.mean
        self.mean += delta / self.present
        self.squares += delta * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.whole = self.whole and value.is_integer()
        if len(self.distinct) <= MAX_DISTINCT:
            self.distinct.add(value)
        if row_hash < self.limit:
            self.sample[row_hash] = value
            self._prune(2 * SAMPLE)

    def merge(self, later: "NumberStats") -> None:
        """Adds the statistics of rows that follow."""
        if not later.present:
            return
        self._step(later.first)
        self.last = later.last
        self.rises += later.rises
        self.falls += later.falls
        total = self.present + later.present
        delta = later.mean - self.mean
        self.squares += later.squares + delta * delta * self.present * later.present / total
        self.mean += delta * later.present / total
        self.present = total
        self.low, self.high = min(self.low, later.low), max(self.high, later.high)
        self.whole = self.whole and later.whole
        self.distinct |= later.distinct
        if len(self.distinct) > MAX_DISTINCT:
            self.distinct = set(sorted(self.distinct)[: MAX_DISTINCT + 1])
        self.sample |= later.sample
        self._prune(2 * SAMPLE)

    @property
    def deviation(self) -> float:
        """Standard deviation, 0 without values."""
        return math.sqrt(self.squares / self.present) if self.present else 0.0

    def sampled(self) -> FloatArray:
        """Values of at most SAMPLE different rows, shape (n,), sorted."""
        self._prune(SAMPLE)
        return np.sort(np.fromiter(self.sample.values(), dtype=np.float64, count=len(self.sample)))

    def _step(self, value: float) -> None:
        if math.isnan(self.last):
            self.first = value
        elif value > self.last:
            self.rises += 1
        elif value < self.last:
            self.falls += 1

    def _prune(self, size: int) -> None:
        if len(self.sample) > size:
            kept = sorted(self.sample)[:SAMPLE]
            self.sample = {row_hash: self.sample[row_hash] for row_hash in kept}
            self.limit = kept[-1]


@dataclass
class LineStats:
    """All features of one kind of line: contexts, or actions."""

    rows: int = 0
    numbers: dict[str, NumberStats] = field(default_factory=dict)  # by encoded name
    words: dict[str, int] = field(default_factory=dict)  # rows with the indicator
    # Features some of whose words were forgotten, because there were too many.
    crowded: bool = False

    def add(self, line: str) -> None:
        """Counts one line of `bandits.encoding`. Raises `ValueError` on any other line."""
        numbers, words = read_line(line)
        row_hash = int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "little")
        self.rows += 1
        for name, value in numbers.items():
            self.numbers.setdefault(name, NumberStats()).add(value, row_hash)
        for word in set(words):
            self.words[word] = self.words.get(word, 0) + 1
        self._bound()

    def merge(self, later: "LineStats") -> None:
        """Adds the statistics of lines that follow."""
        self.rows += later.rows
        self.crowded = self.crowded or later.crowded
        for name, stats in later.numbers.items():
            self.numbers.setdefault(name, NumberStats()).merge(stats)
        for word, count in later.words.items():
            self.words[word] = self.words.get(word, 0) + count
        self._bound()

    def keep(self, most: int) -> None:
        """Forgets the rarest numbers, down to at most `most` of them."""
        if len(self.numbers) > most:
            names = sorted(self.numbers, key=lambda name: (-self.numbers[name].present, name))[:most]
            self.numbers, self.crowded = {name: self.numbers[name] for name in names}, True

    def _bound(self) -> None:
        if len(self.words) > 2 * MAX_WORDS:
            kept = sorted(self.words.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]
            self.words, self.crowded = dict(kept), True
        if len(self.numbers) > 2 * MAX_NUMBERS:
            self.keep(MAX_NUMBERS)


@dataclass
class LogStats:
    """Contexts and actions of a log."""

    contexts: LineStats = field(default_factory=LineStats)
    actions: LineStats = field(default_factory=LineStats)

    def add(self, shared_line: str, action_lines: Iterable[str] = ()) -> None:
        """Counts one decision. Raises `ValueError` on lines that `bandits.encoding` did not write."""
        self.contexts.add(shared_line)
        for line in action_lines:
            self.actions.add(line)

    def merge(self, later: "LogStats") -> None:
        """Adds the statistics of decisions that follow."""
        self.contexts.merge(later.contexts)
        self.actions.merge(later.actions)
