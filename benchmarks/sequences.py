"""Which sequences hold at every look, and how wide are they? Simulation in worlds of known truth, printed as Markdown.

    python -m benchmarks sequences
    python -m benchmarks.sequences --runs 100 --world rare

A run misses when the running average of the target's value lies outside the interval at any of 50 looks. The width is
that of the last look, in widths of the oracle: the one-look normal interval of SNIPS at the same rows, with its true
standard error. vw-estimators' `cs` is the gamma-exponential sequence without a cap of the prediction; the tests compare
that with the package's own figures. This module must never tune a sequence to these worlds.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from math import log, sqrt

import numpy as np

from benchmarks import betting
from benchmarks.sequence_worlds import WORLDS, Floats, Rows, World
from experiments import sequences
from experiments.off_policy import intervals, value_sequence, verdict
from experiments.policy_reports.report_lines import ASYMPTOTIC_REWARDS
from experiments.results import Interval

LOOKS, RUNS_AT_ONCE, ALPHA, SEED = 50, 50, 0.05, 17
UNIT_RANGE = (0.0, 1.0)
ALWAYS_VALID, GAMMA, PACKAGE, BETTING, ASYMPTOTIC = (
    "`always_valid`",
    "`confidence_sequence`",
    "vw-estimators `cs`",
    "betting",
    "`asymptotic_sequence`",
)
METHODS = (ALWAYS_VALID, GAMMA, PACKAGE, BETTING, ASYMPTOTIC)


class Score:
    """What happened in the runs of a world, by method."""

    def __init__(self) -> None:
        self.missed: dict[str, list[bool]] = defaultdict(list)
        self.widths: dict[str, list[float]] = defaultdict(list)
        self.contradicted: dict[str, int] = defaultdict(int)
        self.squares: list[float] = []
        self.effective: list[float] = []

    def add(self, method: str, missed: bool, last: Interval) -> None:
        """One run's misses over all looks, and its interval at the last look."""
        self.missed[method].append(missed)
        if last.low is not None and last.high is not None:
            self.widths[method].append(last.high - last.low)
        elif "contradict" in last.reason:
            self.contradicted[method] += 1

    def misses(self, method: str) -> float:
        """Share of runs that missed at some look."""
        return float(np.mean(self.missed[method]))

    def relative_width(self, method: str, rows: int) -> float | None:
        """Mean width at the last look, in widths of the oracle; None where no run had an interval."""
        oracle = 2 * intervals.normal_quantile(ALPHA) * sqrt(float(np.mean(self.squares)) / rows)
        return float(np.mean(self.widths[method])) / oracle if self.widths[method] else None


def score_world(world: World, runs: int, rows: int | None = None, seed: int = SEED, looks: int = LOOKS) -> Score:
    """Score `runs` logs of a world."""
    score, length, rng = Score(), world.rows if rows is None else rows, np.random.default_rng(seed)
    for size in _sizes(runs):
        logs = world.draw(size, length, rng)
        for run in range(size):
            _score_run(logs, run, score, np.linspace(0, length, looks + 1).astype(int)[1:])
    return score


def _sizes(runs: int) -> Iterator[int]:
    for start in range(0, runs, RUNS_AT_ONCE):
        yield min(RUNS_AT_ONCE, runs - start)


def _score_run(logs: Rows, run: int, score: Score, ends: np.ndarray) -> None:
    w, r, possible = logs.w[run], logs.r[run], logs.possible[run]
    truth = (np.cumsum(logs.value) / np.arange(1, len(w) + 1))[ends - 1]
    score.squares.append(float(np.mean((w * (r - truth[-1])) ** 2)))
    score.effective.append(float(w.sum() ** 2 / (w @ w)))
    state, missed = value_sequence.START, False
    plain, loose = sequences.START, sequences.START
    gamma = {GAMMA: False, PACKAGE: False}
    for start, end, value in zip(np.r_[0, ends[:-1]], ends, truth, strict=True):
        cut = slice(start, end)
        state = value_sequence.advance(state, w[cut], r[cut], possible[cut], UNIT_RANGE)
        missed |= value_sequence.excludes(state, float(value), UNIT_RANGE, ALPHA)
        plain = sequences.advance(plain, w[cut], r[cut], UNIT_RANGE)
        loose = sequences.advance(loose, w[cut], r[cut], UNIT_RANGE, cap=False)
        gamma[GAMMA] |= _gamma_misses(plain, float(value))
        gamma[PACKAGE] |= _gamma_misses(loose, float(value))
    score.add(ALWAYS_VALID, missed, value_sequence.interval(state, UNIT_RANGE, ALPHA))
    score.add(GAMMA, gamma[GAMMA], sequences.gamma_exponential(plain, UNIT_RANGE, ALPHA))
    score.add(PACKAGE, gamma[PACKAGE], sequences.gamma_exponential(loose, UNIT_RANGE, ALPHA))
    score.add(BETTING, *_betting(w, r, ends, truth))
    score.add(ASYMPTOTIC, *_asymptotic(w, r, ends, truth))


def _gamma_misses(state: sequences.SequenceState, truth: float) -> bool:
    """Whether the gamma-exponential sequence excludes the truth at this look, without solving for its ends."""
    low = sequences.log_wealth(state.low_sum - state.t * truth, state.low_spread)
    high = sequences.log_wealth(state.high_sum - state.t * (1 - truth), state.high_spread)
    return bool(max(float(low), float(high)) >= log(2 / ALPHA))


def _asymptotic(w: Floats, r: Floats, ends: np.ndarray, truth: Floats) -> tuple[bool, Interval]:
    """Misses of the asymptotic sequence of SNIPS behind the report's gate, and the interval of the last look."""
    missed, last = False, Interval(None, None, "no look")
    for end, value in zip(ends, truth, strict=True):
        sums = intervals.weight_sums(w[:end], r[:end])
        if sums.w <= 0:
            continue
        effective, estimate = sums.w**2 / sums.ww, sums.wr / sums.w
        if intervals.effective_rewards(sums, UNIT_RANGE) < ASYMPTOTIC_REWARDS:
            continue
        error = intervals.standard_error(w[:end] * (r[:end] - estimate) / (sums.w / end))
        gate = max(verdict.MIN_EFFECTIVE, verdict.MIN_EFFECTIVE_SHARE * end)
        last = sequences.asymptotic(estimate, error, int(end), effective=effective, gate=gate)
        missed |= last.exists and not last.covers(float(value))
    return missed, last


def _betting(w: Floats, r: Floats, ends: np.ndarray, truth: Floats) -> tuple[bool, Interval]:
    """Misses of the betting sequence, whose interval at a look is the intersection of those so far."""
    missed = False
    for x, means in ((w * r, truth), (w * (1 - r), 1 - truth)):
        stakes = betting.bets(x, ALPHA)
        for end, mean in zip(ends, means, strict=True):
            missed |= betting.ruined(x[:end], stakes[:end], float(mean), ALPHA)
    return missed, betting.interval(w, r, ALPHA)


def print_table(scores: dict[World, Score], runs: int) -> None:
    """Print the worlds' table: misses in percent, and widths in widths of the oracle."""
    print(f"\n{runs} runs, {LOOKS} looks: misses at any look, width at the last look in oracle widths\n")
    print(f"| world (rows; effective) | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}")
    for world, score in scores.items():
        cells = []
        for method in METHODS:
            width = score.relative_width(method, world.rows)
            accused = score.contradicted[method] / runs
            note = f", contradicts itself in {accused:.1%}" if accused else ""
            cells.append(f"{score.misses(method):.1%}, {'shut' if width is None else f'{width:.2f}'}{note}")
        print(f"| {world.name} ({world.rows:,}; {np.mean(score.effective):,.0f}) | {' | '.join(cells)} |")


def measure(runs: int = 500, only: str = "") -> None:
    """Score the worlds whose name holds `only`, and print their table."""
    began = time.perf_counter()
    scores = {world: score_world(world, runs) for world in WORLDS if only in world.name}
    print_table(scores, runs)
    print(f"\n({time.perf_counter() - began:.0f} s)", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequences", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--world", default="", help="a part of the name of a world")
    options = parser.parse_args()
    measure(options.runs, options.world)


if __name__ == "__main__":
    main()
