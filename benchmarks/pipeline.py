"""How often ordinary rewards are taken for lost or late, and how soon lost and late ones are noticed; no server is needed.

Each run has 12,000 decisions, one every two minutes by a unit of its own, looked at after every 100 (``app.guardian.pipeline``).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from app.guardian.pipeline import Trouble, WatchedPipeline, see
from app.guardian.store.contexts import Row
from app.guardian.streams import by_unit
from app.guardian.thresholds import threshold_of

DECISIONS, LOOK, CHANGE = 12_000, 100, 6_000
START, EVERY, WINDOW_S = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=2), 86_400.0
HOUR, DAY = 30, 720  # decisions
THRESHOLD = threshold_of(2)
Came = tuple[str, float | None]  # the API key of a decision, and the delay of its first reward, s
World = Callable[[np.random.Generator, int], Came]


def nights(rng: np.random.Generator, number: int) -> Came:
    """Whoever decides at night comes back in the morning."""
    asleep = 6 * 3600 if number // HOUR % 24 < 7 else 0
    return "web", float(rng.lognormal(4, 2)) + asleep


def weekends(rng: np.random.Generator, number: int) -> Came:
    """One app on weekdays, another at weekends, and delays with a heavy tail."""
    return ("app" if number // DAY % 7 > 4 else "web"), float(rng.pareto(1.0)) * 60


def fewer_clicks(rng: np.random.Generator, number: int) -> Came:
    """Where few decisions have rewards, fewer of them are no loss of events."""
    rate = 0.3 if number < CHANGE else 0.1
    return "web", float(rng.exponential(60)) if rng.random() < rate else None


def ramp(rng: np.random.Generator, number: int) -> Came:
    """A slower app takes over."""
    key = "app" if rng.random() < number / DECISIONS else "web"
    return key, float(rng.exponential(600 if key == "app" else 10))


def app_breaks(rng: np.random.Generator, number: int) -> Came:
    """An app with three decisions in ten stops reporting."""
    key = "app" if rng.random() < 0.3 else "web"
    return key, None if key == "app" and number >= CHANGE else float(rng.exponential(60))


def half_lost(rng: np.random.Generator, number: int) -> Came:
    """An app with three decisions in ten loses six rewards in ten."""
    key = "app" if rng.random() < 0.3 else "web"
    lost = key == "app" and number >= CHANGE and rng.random() < 0.6
    return key, None if lost else float(rng.exponential(60))


def queue_grows(rng: np.random.Generator, number: int) -> Came:
    """Rewards come eight hours later than before, in a window of a day."""
    return "web", float(rng.lognormal(4, 1)) + (8 * 3600 if number >= CHANGE else 0)


def creeping(rng: np.random.Generator, number: int) -> Came:
    """Rewards come three hours later every day."""
    return "web", float(rng.lognormal(4, 1)) + max(number - CHANGE, 0) / DAY * 3 * 3600


CLEAN: tuple[World, ...] = (nights, weekends, fewer_clicks, ramp)
BROKEN: tuple[World, ...] = (app_breaks, half_lost, queue_grows, creeping)


def play(world: World, seed: int, run: int = 0) -> list[tuple[int, Trouble]]:
    """One run; returns what is noticed, each with the number of decisions at that look."""
    rng, watched, found = np.random.default_rng([seed, run]), WatchedPipeline(), []
    for begin in range(0, DECISIONS, LOOK):
        rows = []
        for number in range(begin, begin + LOOK):
            at = START + number * EVERY
            key, delay = world(rng, number)
            left = None if delay is None or delay >= WINDOW_S else 1 - delay / WINDOW_S
            rows.append(Row(f"u{number}", at, at, {}, key, int(left is not None), left))
        watched, troubles = see(watched, rows, by_unit(rows), THRESHOLD)
        found += [(begin + LOOK, trouble) for trouble in troubles]
    return found


def measure(runs: int = 20, seed: int = 3) -> None:
    """Print both tables."""
    console = Console(width=100)
    clean = Table("world", "runs that raise", title="Nothing is wrong")
    for world in CLEAN:
        raised = sum(bool(play(world, seed, run)) for run in range(runs))
        clean.add_row(world.__name__, f"{raised} of {runs}")
    console.print(clean)
    broken = Table("world", "noticed", "first as", "decisions until then: median", title="Something is wrong")
    for world in BROKEN:
        firsts = [found[0] for run in range(runs) if (found := play(world, seed, run))]
        kinds = ", ".join(sorted({trouble.kind for _, trouble in firsts}))
        after = f"{np.median([noticed - CHANGE for noticed, _ in firsts]):.0f}" if firsts else ""
        broken.add_row(world.__name__, f"{len(firsts)} of {runs}", kinds, after)
    console.print(broken)
