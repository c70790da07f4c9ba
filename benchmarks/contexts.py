"""How often a context field of a clean world is taken for changed, and how soon a change is noticed; no server is needed.

Each run has 20,000 decisions, one every ten minutes by a unit of its own, looked at after every 100 (``app.guardian.context``).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from app.guardian.context import WatchedField, see
from app.guardian.store.contexts import Row
from app.guardian.streams import by_unit
from app.guardian.thresholds import threshold_of
from experiments.monitoring.usual import Value

DECISIONS, LOOK, CHANGE = 20_000, 100, 10_000
EVERY = timedelta(minutes=10)
START = datetime(2026, 1, 1, tzinfo=UTC)
THRESHOLD = threshold_of(2)
Draw = Callable[[np.random.Generator, int], Value]

CLEAN: dict[str, Draw] = {
    "lognormal, sigma 1.5": lambda rng, _: float(rng.lognormal(3, 1.5)),
    "Pareto of index 1": lambda rng, _: float(1 + rng.pareto(1.0)),
    "normal": lambda rng, _: float(rng.normal(0, 1)),
    "a counter": lambda _, t: float(t),
    "hour of the day": lambda _, t: float(t // 6 % 24),
    "day of the week": lambda _, t: f"d{t // 144 % 7}",
    "a season of 30%": lambda rng, t: float(rng.lognormal(3 + 0.3 * np.sin(t / 3000), 0.5)),
    "one of five texts": lambda rng, _: str(rng.choice(list("abcde"))),
    "a new text every 500": lambda rng, t: f"c{max(t // 500 - int(rng.integers(3)), 0)}",
    "Zipf's texts": lambda rng, _: f"z{min(int(rng.zipf(1.3)), 10**6)}",
    "an id": lambda rng, _: f"i{rng.integers(10**9)}",
    "there in 30%": lambda rng, _: 1.0 if rng.random() < 0.3 else None,
}
CHANGES: dict[str, Draw] = {
    "gone": lambda _, t: None if t >= CHANGE else "a",
    "half gone": lambda rng, t: None if t >= CHANGE and rng.random() < 0.5 else "a",
    "30% have a new text": lambda rng, t: "new" if t >= CHANGE and rng.random() < 0.3 else "a",
    "cents, lognormal of sigma 0.8": lambda rng, t: float(rng.lognormal(3, 0.8) * (100 if t >= CHANGE else 1)),
    "cents, lognormal of sigma 1.5": lambda rng, t: float(rng.lognormal(3, 1.5) * (100 if t >= CHANGE else 1)),
}


def measure(runs: int = 20, seed: int = 3) -> None:
    """Print both tables."""
    console = Console(width=100)
    clean = Table("field", "runs that raise", title="Nothing changes")
    for name, draw in CLEAN.items():
        raised = [_noticed(draw, np.random.default_rng([seed, run])) is not None for run in range(runs)]
        clean.add_row(name, f"{sum(raised)} of {runs}")
    console.print(clean)
    changes = Table("change", "noticed", "decisions until the look that notices: median", title="Changes")
    for name, draw in CHANGES.items():
        delays = [_noticed(draw, np.random.default_rng([seed, run])) for run in range(runs)]
        known = [delay - CHANGE for delay in delays if delay is not None]
        changes.add_row(name, f"{len(known)} of {runs}", f"{np.median(known):.0f}" if known else "")
    console.print(changes)


def _noticed(draw: Draw, rng: np.random.Generator) -> int | None:
    """Decisions until the first look that notices a change; None: none does."""
    field = WatchedField(began=START.isoformat())
    for begin in range(0, DECISIONS, LOOK):
        rows = [
            Row(f"u{t}", START + t * EVERY, START, {"x": draw(rng, t)}, "", 1, None) for t in range(begin, begin + LOOK)
        ]
        field, drift = see("x", field, rows, by_unit(rows), THRESHOLD)
        if drift is not None:
            return begin + LOOK
    return None
