"""Notices that the mean of a stream fell: an e-detector (Shin, Ramdas & Rinaldo 2023, "E-detectors", section 4).

A watch bets against the mean being as high as before. Each observation x multiplies the wealth of a bet f by
``1 + f (m - x) / (high - m)``, which has mean at most 1 while the mean is at least m. Restarting at every observation and
summing gives the Shiryaev-Roberts statistic ``M_t = (M_{t-1} + 1) L_t``; averaging over several bets keeps that. While no mean
fell, the average time until M reaches c is at least c observations, however long the stream is and however often it is read.

The level m comes from the past: the mean of earlier observations, less three standard errors, less a margin. Where the largest
possible observation is unknown or far away, observations are cut above at six standard deviations, and the level is lowered by
what was cut off in the past. So a level is estimated: ``python -m benchmarks guardian`` shows what that gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from experiments.validation import ArrayLike, DataError, FloatArray, vector

BETS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
LEAST: Final = 100  # observations before a watch bets
LAG: Final = 200  # the newest observations, which the level does not know yet
HALF_LIFE: Final = 10_000.0  # observations after which one counts half for the level
ERRORS: Final = 3.0  # standard errors below the mean
CLIP: Final = 6.0  # standard deviations at which observations are cut
NEAR: Final = 50.0  # standard deviations; a largest observation within them needs no cut
SUREST: Final = 1e100  # evidence grows no further: it is stored, and JSON has no infinity
CHUNK: Final = 256  # observations at once: products of so many factors stay within float64


class Sums(NamedTuple):
    """Observations of one call: how many (n), their sum, the sum of their squares, and the sum of what was cut off above."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    cut: float = 0.0


class Watch(NamedTuple):
    """The state of one watch: numbers and tuples of numbers, so that it can be stored as JSON."""

    seen: int = 0
    known: Sums = Sums()  # what the level comes from; older observations count less
    recent: tuple[Sums, ...] = ()  # observations that the level does not know yet, oldest first
    evidence: tuple[float, ...] = (0.0,) * len(BETS)  # M, by bet
    falls: tuple[float, ...] = (0.0,) * len(BETS)  # log wealth since the most likely time of a fall, by bet
    began: tuple[float, ...] = (0.0,) * len(BETS)  # that time, as the caller names it

    @property
    def strength(self) -> float:
        """The e-detector's value: while nothing fell, its mean is at most the number of observations."""
        return float(np.mean(self.evidence))


class Level(NamedTuple):
    """What a watch bets on: the mean is at least `low`; observations lie between `floor` and `high`."""

    mean: float  # of the past, without margin
    low: float
    floor: float
    high: float


class Seen(NamedTuple):
    """What one call saw."""

    watch: Watch
    strength: FloatArray  # shape (n,): the e-detector after each observation
    level: Level | None  # null: the past is too short to bet
    began: float  # when the fall most likely began, if there is one


def observe(
    watch: Watch,
    values: ArrayLike,
    times: ArrayLike,
    *,
    margin: float = 0.1,
    most: float = np.inf,
    low: float | None = None,
) -> Seen:
    """Add observations, shape (n,), in their order.

    :param times: shape (n,), any number that grows with time; the caller gets it back as the time of a fall.
    :param margin: a fall by less than this share of |the mean| is none.
    :param most: the largest value that an observation can have; a known one makes a watch faster.
    :param low: bet on a mean of at least this, in place of what the past and the margin say.

    Raises `DataError` on values that are not finite, and on arrays of different lengths.
    """
    x, at = vector("values", values, minimum_length=0), vector("times", times, minimum_length=0)
    if len(x) != len(at):
        raise DataError("values and times have different lengths", fix="pass a time for each value")
    if margin < 0:
        raise DataError(f"the margin is {margin}", fix="a margin is a share, 0 or larger")
    level = level_of(watch.known, margin, most, low)
    strengths = np.full(len(x), watch.strength)
    evidence, falls, began = (np.array(part) for part in (watch.evidence, watch.falls, watch.began))
    if level is not None:
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            evidence, falls, began, strengths[part] = _bet(level, x[part], at[part], (evidence, falls, began))
    known, recent = _grown(watch, x, np.inf if level is None else level.high)
    grown = Watch(watch.seen + len(x), known, recent, *(tuple(part.tolist()) for part in (evidence, falls, began)))
    return Seen(grown, strengths, level, float(began[int(np.argmax(evidence))]))


def without_evidence(watch: Watch) -> Watch:
    """The watch with what it knows of the past, and without any bet."""
    nothing = (0.0,) * len(BETS)
    return watch._replace(evidence=nothing, falls=nothing, began=nothing)


def restarted(watch: Watch) -> Watch:
    """The watch after an alarm: it keeps nothing of the past, because the world is another one."""
    return Watch(seen=watch.seen)


def level_of(known: Sums, margin: float, most: float = np.inf, low: float | None = None) -> Level | None:
    """The level to bet on; None while the past is too short, or where nothing can lie above it. Parameters as of `observe`."""
    if known.n < LEAST:
        return None
    mean = known.total / known.n
    deviation = float(np.sqrt(max(known.squares / known.n - mean**2, 0.0)))
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        deviation = max(abs(mean), 1e-12) / np.sqrt(known.n)  # a constant: anything below is a fall
    near = most <= mean + NEAR * deviation
    high = most if near else mean + CLIP * deviation
    usual = mean - ERRORS * deviation / np.sqrt(known.n) - margin * abs(mean)
    least = (usual if low is None else low) - (0.0 if near else known.cut / known.n)
    if high <= least:
        return None
    floor = min(mean - CLIP * deviation, 2 * least - mean)  # of a constant, a fall lies far outside of six deviations
    return Level(mean, float(least), float(floor), float(high))


def _bet(
    level: Level, values: FloatArray, times: FloatArray, state: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Every bet over one chunk; returns the new state and the mean statistic after each observation."""
    evidence, falls, began = state
    x = np.clip(values, level.floor, level.high)
    gains = np.log1p(np.outer(BETS, level.low - x) / (level.high - level.low))  # (bets, n)
    wealth = np.cumsum(gains, axis=1)
    before = np.concatenate([np.zeros((len(BETS), 1)), wealth[:, :-1]], axis=1)
    statistic = np.minimum(np.exp(wealth) * (evidence[:, None] + np.cumsum(np.exp(-before), axis=1)), SUREST)
    lowest = np.minimum.accumulate(np.concatenate([-falls[:, None], before, wealth[:, -1:]], axis=1), axis=1)[:, -1]
    starts = np.concatenate([-falls[:, None], before, wealth[:, -1:]], axis=1).argmin(axis=1)
    moved = np.where(starts == 0, began, times[np.clip(starts - 1, 0, len(times) - 1)])
    return statistic[:, -1], wealth[:, -1] - lowest, moved, statistic.mean(axis=0)


def _grown(watch: Watch, values: FloatArray, high: float) -> tuple[Sums, tuple[Sums, ...]]:
    """The level's sums after these observations: what is older than `LAG` observations joins them, and fades."""
    recent = [
        *watch.recent,
        Sums(
            float(len(values)),
            float(values.sum()),
            float(np.square(values).sum()),
            float(np.maximum(values - high, 0.0).sum()),
        ),
    ]
    waiting = sum(part.n for part in recent)
    known = watch.known
    while recent and waiting - recent[0].n >= LAG:
        part = recent.pop(0)
        waiting -= part.n
        kept = 0.5 ** (part.n / HALF_LIFE)
        known = Sums(*(old * kept + new for old, new in zip(known, part, strict=True)))
    return known, tuple(recent)


__all__: Sequence[str] = [
    "BETS",
    "LEAST",
    "Level",
    "Seen",
    "Sums",
    "Watch",
    "level_of",
    "observe",
    "restarted",
    "without_evidence",
]
