"""python -m benchmarks noise: what does an evaluation say of models that learned pure noise?

The world: every action is worth .500, whatever the context. An arm learns in batches and remembers each context's luckiest
action; an even arm decides beside it. Everything after the log is the platform's own code (`app.off_policy.valued` and
`app.off_policy.search`); only the learner is a table instead of Vowpal Wabbit, so that a run takes a fraction of a second.
The candidates: four stored versions, another learner, and one fixed action.

`--in-sample` shows what scoring models on the rows that they learned would say: the newest version in place of what ran, and
versions scored on every row. A rollback is such a case: another version serves, and the newest one is a candidate.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from app.off_policy.log_table import LogTable
from app.off_policy.mixture import mixed
from app.off_policy.policies import STAGES, Target
from app.off_policy.search import Baseline, search
from app.off_policy.store.evaluations import LoggedRow
from app.off_policy.store.learned import Place
from app.off_policy.valued import Sample, Valued, value
from bandits.policy import UniformPolicy

ROWS, BATCH, CONTEXTS, ACTIONS, EPSILON = 2000, 100, 40, 4, 0.1
TRUTH, BOUNDS = 0.5, (0.0, 1.0)
NAMES = [f"a{number}" for number in range(ACTIONS)]
START = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST = ROWS // BATCH
VERSIONS = (6, 12, 16, NEWEST)  # candidates; the newest has learned every row, and can be scored on none
FloatArray = NDArray[np.float64]


class World(NamedTuple):
    """One log, and every model version: its choice by context, shape (versions, contexts, actions)."""

    table: LogTable
    context: NDArray[np.int64]
    versions: FloatArray
    learned: list[NDArray[np.int64]]  # rows of each version and its ancestors


class Tabled(Target):
    """A target whose chances are already known on the whole evaluated part."""

    def probabilities(self, late: LogTable, tick: Callable[[int], None]) -> FloatArray:  # noqa: ARG002 - as in Target
        chances = cast(FloatArray, self.policy)
        return np.asarray(chances[[int(row.id) for row in late.rows]], dtype=np.float64)


def world(seed: int, rows_of_a_unit: int = 1) -> World:
    """One log of noise."""
    random = np.random.default_rng(seed)
    unit = np.arange(ROWS) // rows_of_a_unit
    own = (random.random(unit[-1] + 1) < 0.5)[unit]
    context = random.integers(0, CONTEXTS, ROWS)
    reward = (random.random(ROWS) < TRUTH).astype(float)
    versions, learned = [np.full((CONTEXTS, ACTIONS), 1 / ACTIONS)], [np.zeros(0, dtype=np.int64)]
    chances, chosen = np.full((ROWS, ACTIONS), 1 / ACTIONS), np.zeros(ROWS, dtype=np.int64)
    for start in range(0, ROWS, BATCH):
        rows = np.arange(start, start + BATCH)
        chances[rows] = versions[-1][context[rows]]
        drawn = np.where(own[rows, None], chances[rows], 1 / ACTIONS)
        chosen[rows] = (drawn.cumsum(axis=1) < random.random((BATCH, 1))).sum(axis=1).clip(max=ACTIONS - 1)
        known = np.flatnonzero(own[: start + BATCH])
        versions.append(greedy(context[known], chosen[known], reward[known]))
        learned.append(known)
    arms = {"learned": chances, "even": np.full((ROWS, ACTIONS), 1 / ACTIONS)}
    share = np.full((ROWS, 2), 0.5)
    logged = [_row(n, bool(own[n]), int(unit[n]), int(chosen[n]), reward[n]) for n in range(ROWS)]
    ones = np.ones(ROWS, dtype=np.int64)
    table = LogTable(
        logged,
        [],
        [],
        [],
        chosen,
        arms,
        share,
        mixed(arms, share),
        reward,
        unit.astype(np.int64),
        np.arange(ROWS),
        ones,
    )
    return World(table, context, np.stack(versions), learned)


def greedy(context: NDArray[np.int64], chosen: NDArray[np.int64], reward: FloatArray) -> FloatArray:
    """Each context's action with the best mean so far, with exploration, shape (contexts, actions)."""
    sums, counts = np.zeros((CONTEXTS, ACTIONS)), np.zeros((CONTEXTS, ACTIONS))
    np.add.at(sums, (context, chosen), reward)
    np.add.at(counts, (context, chosen), 1.0)
    best = ((sums + 0.5) / (counts + 1)).argmax(axis=1)
    return np.asarray(EPSILON / ACTIONS + (1 - EPSILON) * np.eye(ACTIONS)[best])


def judged(seed: int, *, rows_of_a_unit: int = 1, in_sample: bool = False) -> tuple[Valued, str | None]:
    """What one evaluation says: the line of what runs, and the winner of the search."""
    log = world(seed, rows_of_a_unit)
    half = ROWS // 2
    late = _part(log.table, np.arange(half, ROWS))
    sample = Sample(late, _predictions(log, half), BOUNDS, 0.05)
    running = Target("running", "", "as_it_ran", UniformPolicy(), arm="learned")
    targets = [_version(log, number, in_sample) for number in VERSIONS]
    targets += [_forward(log, half), _tabled("always", np.tile(np.eye(ACTIONS)[0], (ROWS, 1)))]
    ran = value(sample, running, _nothing)
    valued = [value(sample, target, _nothing) for target in targets]
    baseline = Baseline(ran.contributions, ran.verdict, late.group_units, 0.05)
    shown = value(sample, _version(log, NEWEST, in_sample), _nothing) if in_sample else ran
    return shown, search(valued, baseline).winner


class Said(NamedTuple):
    """What many logs said."""

    runs: int
    promoted: float  # share of logs in which the search named a winner
    covered: float  # share in which the one-look interval of what runs holds the truth, of those that show one
    always: float  # the same of the interval for every look
    shown: float  # share of logs with a value for what runs
    mean: float  # of the shown values


def said(runs: int, *, rows_of_a_unit: int = 1, in_sample: bool = False, first: int = 0) -> Said:
    """Evaluate many logs of noise."""
    outcomes = [judged(seed, rows_of_a_unit=rows_of_a_unit, in_sample=in_sample) for seed in range(first, first + runs)]
    lines = [ran.line for ran, _ in outcomes if ran.line.value is not None]
    one = [_holds(line.one_look) for line in lines]
    every = [_holds(line.interval) for line in lines]
    return Said(
        runs,
        float(np.mean([winner is not None for _, winner in outcomes])),
        float(np.mean(one)),
        float(np.mean(every)),
        len(lines) / runs,
        float(np.mean([line.value for line in lines if line.value is not None])),
    )


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks noise", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--rows-of-a-unit", type=int, default=1)
    parser.add_argument("--in-sample", action="store_true", help="score models on what they learned")
    asked = parser.parse_args()
    _print(asked.runs, asked.rows_of_a_unit, in_sample=asked.in_sample)


def measure() -> None:
    """Print everything: independent rows, units that return, and what scoring on learned rows would say."""
    _print(500, 1)
    _print(500, 4)
    _print(500, 1, in_sample=True)


def _print(runs: int, rows_of_a_unit: int, *, in_sample: bool = False) -> None:
    began = time.perf_counter()
    found = said(runs, rows_of_a_unit=rows_of_a_unit, in_sample=in_sample)
    error = 100 * (0.05 * 0.95 / runs) ** 0.5
    scored = "models scored on what they learned" if in_sample else "as the platform evaluates"
    print(f"{runs} logs of {ROWS} rows of noise worth {TRUTH:.3f}, {rows_of_a_unit} rows a unit, {scored}")
    what = "the newest version" if in_sample else "what runs"
    print(f"  {what} is valued at {found.mean:.3f} on average, in {100 * found.shown:.1f}% of logs")
    print(f"  its one-look interval holds the truth in {100 * found.covered:.1f}% (standard error {error:.1f})")
    print(f"  its interval for every look in {100 * found.always:.1f}%")
    print(f"  a winner among {len(VERSIONS) + 2} candidates in {100 * found.promoted:.1f}%, allowed 5%")
    print(f"  {time.perf_counter() - began:.1f} s")


def _row(number: int, own: bool, unit: int, chosen: int, reward: float) -> LoggedRow:
    at = START + timedelta(seconds=number)
    arm = "learned" if own else "even"
    even = [1 / ACTIONS] * ACTIONS
    return LoggedRow(str(number), arm, str(unit), 1, 0, None, NAMES, even, chosen, 1 / ACTIONS, {}, reward, at)


def _part(table: LogTable, rows: NDArray[np.int64]) -> LogTable:
    """Some rows; the twin has no encoded lines."""
    blank = table.__class__(
        **{**table.__dict__, "shared": [""] * len(table), "lines": [[]] * len(table), "above": [[]] * len(table)}
    )
    return blank.take(rows)


def _predictions(log: World, half: int) -> FloatArray:
    """Each context's and action's mean over earlier rows, fitted anew before each of four folds; shape (n, K)."""
    table, out = log.table, []
    for fold in np.array_split(np.arange(half, ROWS), 4):
        before = np.arange(fold[0])
        sums, counts = np.zeros((CONTEXTS, ACTIONS)), np.zeros((CONTEXTS, ACTIONS))
        np.add.at(sums, (log.context[before], table.chosen[before]), table.reward[before])
        np.add.at(counts, (log.context[before], table.chosen[before]), 1.0)
        out.append(((sums + 2 * TRUTH) / (counts + 2))[log.context[fold]])
    return np.concatenate(out)


def _tabled(name: str, chances: FloatArray, after: Place | None = None) -> Target:
    return Tabled(name, "", "does_not_learn", chances, candidate=True, after=after)  # type: ignore[arg-type]


def _version(log: World, number: int, in_sample: bool) -> Target:
    last = int(log.learned[number][-1])
    after = None if in_sample else Place(log.table.rows[last].decided_at, str(last))
    return _tabled(f"v{number}", log.versions[number][log.context], after)


def _forward(log: World, half: int) -> Target:
    """Another learner, which learns from every arm's rows: trained again before each part, on the rows before it."""
    chances = np.full((ROWS, ACTIONS), 1 / ACTIONS)
    for part in np.array_split(np.arange(half, ROWS), STAGES):
        before = np.arange(part[0])
        model = greedy(log.context[before], log.table.chosen[before], log.table.reward[before])
        chances[part] = model[log.context[part]]
    return _tabled("other", chances)


def _holds(interval: object) -> bool:
    low, high = getattr(interval, "low", None), getattr(interval, "high", None)
    return low is not None and high is not None and low <= TRUTH <= high


def _nothing(_: int) -> None:
    return None


if __name__ == "__main__":
    main()
