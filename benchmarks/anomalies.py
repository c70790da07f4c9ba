"""How often units of clean worlds are taken for anomalies, and which bots are found; no server is needed.

A run has 20,000 decisions of one arm, and is looked at after every 2,000, as on the platform (``app.guardian.features``). In
clean worlds people differ in how often they come, in taste, in how long they take, and in their rhythm.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from app.guardian.features import of_rows
from app.guardian.store.behaviour import Row

DECISIONS, LOOK = 20_000, 2_000
START = datetime(2026, 1, 1, tzinfo=UTC)
Weights = Callable[[np.random.Generator], "np.ndarray[tuple[int], np.dtype[np.float64]]"]

CLEAN: dict[str, Weights] = {
    "everybody comes once": lambda _: np.ones(200_000),
    "2,000 alike": lambda _: np.ones(2_000),
    "40 alike": lambda _: np.ones(40),
    "geometric": lambda rng: rng.exponential(1.0, 2_000),
    "lognormal, sigma 1.5": lambda rng: rng.lognormal(0.0, 1.5, 2_000),
    "lognormal, sigma 2.5": lambda rng: rng.lognormal(0.0, 2.5, 2_000),
    "Pareto of index 2.1": lambda rng: 1.0 + rng.pareto(2.1, 2_000),
    "Pareto of index 1": lambda rng: 1.0 + rng.pareto(1.0, 2_000),
    "Pareto of index 1, 100 units": lambda rng: 1.0 + rng.pareto(1.0, 100),
    "Zipf": lambda _: 1.0 / np.arange(1, 5_001),
}


def measure(runs: int = 20, seed: int = 7) -> None:
    """Print both tables."""
    console = Console(width=110)
    clean = Table("people", "runs that raise", "by", title="Nobody is a bot")
    for name, weights in CLEAN.items():
        found = [_run(weights, np.random.default_rng([seed, run])) for run in range(runs)]
        reasons = sorted({reason for _, run_reasons in found for reason in run_reasons})
        clean.add_row(name, f"{sum(bool(reasons) for _, reasons in found)} of {runs}", ", ".join(reasons))
    console.print(clean)
    bots = Table("bot", "people", "found", "decisions of the bot until then: median", title="Bots")
    for bot, share in (("one, 40% of all", 0.4), ("one, 10% of all", 0.1), ("one, 3% of all", 0.03)):
        for name in ("everybody comes once", "geometric", "lognormal, sigma 1.5", "Pareto of index 1"):
            found = [_run(CLEAN[name], np.random.default_rng([seed, run]), share) for run in range(max(runs // 3, 1))]
            known = [count for count, _ in found if count is not None]
            middle = f"{np.median(known):.0f}" if known else ""
            bots.add_row(bot, name, f"{len(known)} of {len(found)}", middle)
    console.print(bots)


def _run(weights: Weights, rng: np.random.Generator, bot: float = 0.0) -> tuple[int | None, set[str]]:
    """Decisions of the bot when it was found (None: it was not), and the reasons for which people were."""
    rows = _rows(weights(rng), rng, bot)
    found, wrong = None, set()
    for until in range(LOOK, DECISIONS + 1, LOOK):
        part = rows[:until]
        for unit, finding in of_rows(part):
            if unit == "bot":
                found = found if found is not None else int(sum(row.unit_id == "bot" for row in part))
            else:
                wrong.add(finding.feature)
    return found, wrong


def _rows(weights: np.ndarray, rng: np.random.Generator, bot: float) -> list[Row]:
    people = rng.choice(len(weights), DECISIONS, p=weights / weights.sum())
    taste = rng.dirichlet(np.ones(3), len(weights)) * 0.6
    pace = rng.lognormal(3.0, 1.0, len(weights))
    chosen = rng.choice(3, DECISIONS, p=[0.1, 0.2, 0.7])
    times = np.cumsum(rng.exponential(0.5, DECISIONS))
    is_bot = rng.random(DECISIONS) < bot
    rows = []
    for index in range(DECISIONS):
        unit, action = people[index], chosen[index]
        reward = float(action == 0) if is_bot[index] else float(rng.random() < taste[unit, action])
        delay = 0.05 if is_bot[index] else float(pace[unit] * rng.lognormal(0.0, 0.7))
        at = START + timedelta(seconds=float(times[index]))
        name = "bot" if is_bot[index] else f"u{unit}"
        rows.append(Row("learned", name, "key", at, str(action), reward, delay if reward else None))
    return rows
