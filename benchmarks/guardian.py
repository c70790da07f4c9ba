"""How often the guardian's watches raise where nothing fell, and how soon where something did; no server is needed.

Clean worlds have rewards of every kind, ramps, a learner that improves, and a day of ten percent up and down. Each run has 20,000
decisions of a learning arm and a control, in rounds of 100. The difference to the fallback is watched as on the platform
(``app.guardian.streams.between_arms``).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from app.guardian.thresholds import threshold_of
from app.guardian.watching import ARM_AFTER
from experiments.monitoring import falls
from experiments.monitoring.falls import Watch

DECISIONS, ROUND, ARMS = 20_000, 100, 2
MARGIN = 0.1
THRESHOLD = threshold_of(ARMS)
Rewards = Callable[[np.random.Generator, int, "np.ndarray[tuple[int], np.dtype[np.float64]]"], np.ndarray]


class Clean(NamedTuple):
    """A world in which nothing falls."""

    rewards: Rewards  # of n decisions at these times, of the learning arm
    most: float  # declared largest reward


def _chance(of: Callable[[np.ndarray], np.ndarray]) -> Rewards:
    return lambda rng, n, t: (rng.random(n) < of(t)) * 1.0


CLEAN = {
    "clicks of 0.3%": Clean(_chance(lambda t: 0.003 + 0 * t), 1.0),
    "clicks of 2%": Clean(_chance(lambda t: 0.02 + 0 * t), 1.0),
    "half": Clean(_chance(lambda t: 0.5 + 0 * t), 1.0),
    "nearly all": Clean(_chance(lambda t: 0.98 + 0 * t), 1.0),
    "a learner that improves": Clean(_chance(lambda t: 0.2 + 0.5 * (1 - np.exp(-t / 3000))), 1.0),
    "10% up and down a day": Clean(_chance(lambda t: 0.3 * (1 + 0.1 * np.sin(t / 2000 * 2 * np.pi))), 1.0),
    "lognormal": Clean(lambda rng, n, _: rng.lognormal(0.0, 1.5, n), 1e6),
    "Pareto of index 2.1": Clean(lambda rng, n, _: rng.pareto(2.1, n), 1e6),
    "3% payers": Clean(lambda rng, n, _: (rng.random(n) < 0.03) * rng.lognormal(3.0, 1.0, n), 1e6),
}
FALLS = {"0.70 to 0.04": (0.7, 0.04), "0.60 to 0.40": (0.6, 0.4), "0.30 to 0.15": (0.3, 0.15), "0.02 to 0": (0.02, 0.0)}


def measure(runs: int = 112, seed: int = 11) -> None:
    """Print both tables."""
    console = Console(width=110)
    clean = Table("world", "runs that raise", "of value", "of the difference to the fallback", title="Nothing falls")
    for name, world in CLEAN.items():
        raised = np.array([_clean(world, np.random.default_rng([seed, run])) for run in range(runs)])
        clean.add_row(name, f"{raised.any(axis=1).sum()} of {runs}", str(raised[:, 0].sum()), str(raised[:, 1].sum()))
    console.print(clean)
    found = Table(
        "fall", "noticed", "decisions until then: median, 5%, 95%", "error of the date: median", title="Falls"
    )
    for name, (before, after) in FALLS.items():
        delays = [_fall(before, after, np.random.default_rng([seed, run])) for run in range(runs)]
        known = np.array([delay for delay in delays if delay is not None])
        if not len(known):
            found.add_row(name, f"0 of {runs}", "", "")
            continue
        middle, low, high = np.percentile(known[:, 0], [50, 5, 95])
        error = np.median(np.abs(known[:, 1]))
        found.add_row(name, f"{len(known)} of {runs}", f"{middle:.0f}, {low:.0f}, {high:.0f}", f"{error:.0f}")
    console.print(found)


def _clean(world: Clean, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether the value's watch, and that of the difference, raise in one run with a ramp of the learning arm's share."""
    value, gap, armed, raised = Watch(), Watch(), False, [False, False]
    for start in range(0, DECISIONS, ROUND):
        share = 0.1 + 0.8 * min(1.0, (start // 4000) / 4)  # in five steps
        learned = rng.random(ROUND) < share
        times = np.arange(start, start + ROUND, dtype=np.float64)
        rewards = world.rewards(rng, ROUND, times)
        center = _mean(value) or 0.0
        seen = falls.observe(value, rewards[learned], times[learned], margin=MARGIN, most=world.most)
        value, raised[0] = seen.watch, raised[0] or bool((seen.strength >= THRESHOLD).any())
        level = falls.level_of(value.known, 0.0, world.most)
        high = world.most if level is None else level.high
        signed = np.where(learned, 1 / share, -1 / (1 - share)) * (np.minimum(rewards, high) - center)
        margin, most = MARGIN * abs(center), max((high - center) / share, center / (1 - share))
        seen = falls.observe(gap, signed, times, low=-margin, most=most)
        gap = seen.watch
        armed = armed or (gap.known.n >= ARM_AFTER and (_mean(gap) or 0.0) > -margin / 2)
        if not armed:
            gap = falls.without_evidence(gap)
        elif (seen.strength >= THRESHOLD).any():
            raised[1] = True
    return raised[0], raised[1]


def _fall(before: float, after: float, rng: np.random.Generator) -> tuple[int, float] | None:
    """Decisions of the arm until a fall half way is noticed, and the error of its date; None: it is not noticed."""
    watch, half = Watch(), DECISIONS // 2
    for start in range(0, DECISIONS, ROUND):
        times = np.arange(start, start + ROUND, dtype=np.float64)
        values = (rng.random(ROUND) < np.where(times < half, before, after)) * 1.0
        seen = falls.observe(watch, values, times, margin=MARGIN, most=1.0)
        watch, sure = seen.watch, np.flatnonzero(seen.strength >= THRESHOLD)
        if len(sure):
            return (start + int(sure[0]) - half, seen.began - half) if start >= half else None
    return None


def _mean(watch: Watch) -> float | None:
    parts = [watch.known, *watch.recent]
    n = sum(part.n for part in parts)
    return sum(part.total for part in parts) / n if n else None
