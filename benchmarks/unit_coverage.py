"""Do intervals of units that return cover? Few units, unequal numbers of rows, rare rewards; printed as Markdown.

    python -m benchmarks unit_coverage
    python -m benchmarks.unit_coverage --runs 2000

Each unit belongs to one of two arms (a fixed action, or one of four at random) and has its own reward rate; its number of
rows is Pareto's, at least 10. The weights are those of the platform as a whole, so that a unit's rows depend on each
other. One-look intervals are scored at the end, the sequence at 25 looks while rows of all units come in; where it is
shut, it has not missed. "Not identified" counts logs that the verdict refuses for too few effective units.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.off_policy import estimators, intervals, unit_sums
from experiments.off_policy.verdict import MIN_EFFECTIVE_UNITS
from experiments.results import Interval

Floats = npt.NDArray[np.float64]
UNITS = (8, 20, 50, 200, 1000)
SHAPES, RATES = (1.5, 2.0), (0.01, 0.05, 0.3)
LOOKS, LEAST_ROWS, MOST_ROWS, SEED = 25, 10, 3000, 5
MIXTURE, TARGET = np.array([0.55, 0.15, 0.15, 0.15]), np.array([0.1, 0.3, 0.4, 0.2])
EFFECTS = np.array([1.0, 0.8, 1.2, 1.0])
UNIT_RANGE = (0.0, 1.0)


class Log(NamedTuple):
    """Rows in time order."""

    unit: npt.NDArray[np.int64]
    w: Floats
    r: Floats


def draw(units: int, shape: float, rate: float, rng: np.random.Generator) -> Log:
    """A log of `units` units with Pareto(`shape`) numbers of rows."""
    rows = np.minimum(np.floor(LEAST_ROWS * (1 + rng.pareto(shape, units))), MOST_ROWS).astype(int)
    rates = rng.beta(20 * rate, 20 * (1 - rate), units)
    fixed = rng.random(units) < 0.4
    unit = np.repeat(np.arange(units), rows)
    first = 0.9 * rng.random(units)[unit]
    when = first + rng.random(len(unit)) * (1 - first)
    action = np.where(fixed[unit], 0, rng.integers(0, 4, len(unit)))
    r = (rng.random(len(unit)) < rates[unit] * EFFECTS[action]).astype(np.float64)
    order = np.argsort(when)
    return Log(unit[order], (TARGET / MIXTURE)[action][order], r[order])


def truth(rate: float) -> float:
    """The value of the target policy."""
    return float(rate * TARGET @ EFFECTS)


def weighted(log: Log, rows: int) -> unit_sums.UnitSums:
    """Sums within units of w r and of w over the first rows."""
    w = log.w[:rows]
    return unit_sums.unit_sums(w * log.r[:rows], w, log.unit[:rows])


def _misses(log: Log, value: float) -> bool:
    """Whether the sequence of units misses at any look."""
    for rows in np.linspace(0, len(log.w), LOOKS + 1).astype(int)[1:]:
        sums = weighted(log, rows)
        if unit_sums.shut(sums, UNIT_RANGE):
            continue
        if not unit_sums.always_valid(sums, UNIT_RANGE).covers(value):
            return True
    return False


def score(units: int, shape: float, rate: float, runs: int) -> dict[str, float]:
    """Shares over runs: coverage at the end by interval, misses of the sequence, refusals, and a ratio of widths."""
    rng, value, tally = np.random.default_rng(SEED), truth(rate), _tally()
    for _ in range(runs):
        log = draw(units, shape, rate, rng)
        sums = weighted(log, len(log.w))
        estimate = estimators.snips(log.w, log.r)
        error = intervals.standard_error(estimate.influence, np.unique(log.unit, return_inverse=True)[1])
        normal, robust = intervals.normal(estimate.value, error), unit_sums.one_look(sums, UNIT_RANGE)
        refused = unit_sums.kish(sums.weight) < MIN_EFFECTIVE_UNITS
        tally["refused"].append(refused)
        tally["normal"].append(normal.covers(value))
        tally["unit_sums"].append(robust.covers(value))
        if not refused:
            tally["identified"].append(robust.covers(value))
        tally["width"].append(_width(robust) / max(_width(normal), 1e-12))
        tally["missed"].append(_misses(log, value))
        tally["open"].append(not unit_sums.shut(sums, UNIT_RANGE))
    means = {name: float(np.mean(found)) for name, found in tally.items() if name != "width"}
    return {**means, "width": float(np.median(tally["width"]))}


def _tally() -> dict[str, list[float]]:
    return defaultdict(list)


def _width(interval: Interval) -> float:
    return (interval.high or 0.0) - (interval.low or 0.0)


def measure(runs: int = 1000) -> None:
    """Print the table."""
    began = time.perf_counter()
    print(f"\n{runs} runs; {LOOKS} looks of the sequence\n")
    columns = ("rewards, rows of a unit", "units", "normal", "`unit_sums`", "its width / normal's", "not identified")
    print(f"| {' | '.join(columns)} | sequence missed (open) |")
    print("|---|---|---|---|---|---|---|")
    for rate in RATES:
        for shape in SHAPES:
            for units in UNITS:
                found = score(units, shape, rate, runs if units < 1000 else runs // 2)
                print(
                    f"| {rate:.0%}, Pareto({shape}) | {units:,} | {found['normal']:.1%} | {found['unit_sums']:.1%} | "
                    f"{found['width']:.2f} | {found['refused']:.0%} | {found['missed']:.1%} ({found['open']:.0%}) |",
                    flush=True,
                )
    print(f"\n({time.perf_counter() - began:.0f} s)", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unit_coverage", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    measure(parser.parse_args().runs)


if __name__ == "__main__":
    main()
