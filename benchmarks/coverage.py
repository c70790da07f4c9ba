"""Do intervals cover as often as they say, and do sequential checks stay quiet? Simulation, printed as Markdown tables.

    python -m benchmarks.coverage --runs 2000          # everything, some minutes on one core
    python -m benchmarks.coverage --only off_policy --rate 0.01

The world: 4 equally likely contexts, 5 actions, Bernoulli rewards around the given rate. The log comes from a fixed
policy or from one that learns between batches (epsilon-greedy, Thompson-like, inverse-gap weighting as in SquareCB),
always with a floor; the target policy is fixed beforehand. The reward model of DR is the running mean per context and
action from earlier batches. Published in docs/statistics.md; a small twin runs in the tests. It must never be
tuned until it passes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks import betting
from benchmarks.coverage_adaptive import actions, arms
from benchmarks.coverage_alarms import false_alarms, lost_exposures
from benchmarks.tally import Tally, chunks, print_tally
from experiments import sequences, sums
from experiments.off_policy import likelihood
from experiments.policy_reports import report
from experiments.policy_reports.report_lines import Settings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Report = report.OffPolicyReport

CONTEXTS, ACTIONS, BATCHES = 4, 5, 20
POLICIES = ("fixed", "epsilon_greedy", "thompson", "inverse_gap")
FLOOR = 0.2
ROWS = {0.01: 20_000, 0.1: 4_000, 0.9: 4_000}
SLOW_RUNS = 300
"""Betting costs a hundred passes per run, so it is measured on fewer runs."""


class World(NamedTuple):
    """The truth of the simulation."""

    means: Floats
    """Shape (contexts, actions): mean rewards."""
    target: Floats
    """Shape (contexts, actions): the policy to value."""
    fixed: Floats
    """Shape (contexts, actions): the fixed logging policy."""

    @property
    def value(self) -> float:
        """The value that every interval should cover."""
        return float((self.target * self.means).sum(axis=1).mean())


class Logs(NamedTuple):
    """Logs of several runs, all arrays of shape (runs, rows)."""

    w: Floats
    r: Floats
    q: Floats
    v: Floats
    max_weight: float


def make_world(rate: float, seed: int = 7) -> World:
    """Mean rewards between about 0.6 and 1.4 times the rate (of the failure rate, for rates above one half)."""
    rng = np.random.default_rng(seed)
    rare = min(rate, 1 - rate)
    spread = rare * (1 + 0.4 * rng.uniform(-1, 1, size=(CONTEXTS, ACTIONS)))
    means = spread if rate <= 0.5 else 1 - spread
    target = np.exp(1.2 * rng.normal(size=(CONTEXTS, ACTIONS)))
    fixed = np.exp(0.6 * rng.normal(size=(CONTEXTS, ACTIONS)))
    return World(
        means, target / target.sum(axis=1, keepdims=True), with_floor(fixed / fixed.sum(axis=1, keepdims=True))
    )


def with_floor(p: Floats, floor: float = FLOOR) -> Floats:
    """Mix `floor` of the uniform policy in."""
    return np.asarray((1 - floor) * p + floor / p.shape[-1])


def learned(policy: str, n: Floats, s: Floats, rng: np.random.Generator, t: int) -> Floats:
    """Probabilities (runs, contexts, actions) from counts and sums of earlier batches, before the floor."""
    mean = (s + 0.5) / (n + 1)
    if policy == "epsilon_greedy":
        best = mean == mean.max(axis=-1, keepdims=True)
        return np.asarray(0.9 * best / best.sum(axis=-1, keepdims=True) + 0.1 / ACTIONS)
    if policy == "thompson":
        spread = np.sqrt(np.clip(mean * (1 - mean), 1e-4, None) / (n + 1))
        draws = rng.normal(mean, spread, size=(60, *mean.shape)).argmax(axis=-1)
        return np.stack([(draws == a).mean(axis=0) for a in range(ACTIONS)], axis=-1)
    gap = mean.max(axis=-1, keepdims=True) - mean
    p = 1 / (ACTIONS + 20 * np.sqrt(t / CONTEXTS) * gap)
    best = mean.argmax(axis=-1)
    np.put_along_axis(p, best[..., None], 0.0, axis=-1)
    np.put_along_axis(p, best[..., None], 1 - p.sum(axis=-1, keepdims=True), axis=-1)
    return np.asarray(p)


def collect(world: World, policy: str, runs: int, rows: int, rng: np.random.Generator) -> Logs:
    """Logs of `runs` independent runs, policies updated between `BATCHES` equal batches."""
    shape = (runs, CONTEXTS, ACTIONS)
    n, s = np.zeros(shape), np.zeros(shape)
    parts: list[tuple[Floats, Floats, Floats, Floats]] = []
    batch = rows // BATCHES
    run = np.arange(runs)[:, None]
    for step in range(BATCHES):
        p = np.broadcast_to(world.fixed, shape)
        if policy != "fixed":
            p = np.full(shape, 1 / ACTIONS) if step == 0 else with_floor(learned(policy, n, s, rng, step * batch))
        x = rng.integers(CONTEXTS, size=(runs, batch))
        chosen = (rng.random((runs, batch, 1)) > np.cumsum(p, axis=-1)[run, x][..., :-1]).sum(axis=-1)
        r = (rng.random((runs, batch)) < world.means[x, chosen]).astype(np.float64)
        q_table = np.divide(s, n, out=np.zeros(shape), where=n > 0)
        v_table = (world.target * q_table).sum(axis=-1)
        w = world.target[x, chosen] / p[run, x, chosen]
        parts.append((w, r, q_table[run, x, chosen], v_table[run, x]))
        flat = (run * CONTEXTS + x) * ACTIONS + chosen
        n = n + np.bincount(flat.ravel(), minlength=n.size).reshape(shape)
        s = s + np.bincount(flat.ravel(), weights=r.ravel(), minlength=n.size).reshape(shape)
    lowest = world.fixed if policy == "fixed" else np.full((CONTEXTS, ACTIONS), FLOOR / ACTIONS)
    w, r, q, v = (np.concatenate([part[i] for part in parts], axis=1) for i in range(4))
    return Logs(w, r, q, v, float((world.target / lowest).max()))


def off_policy(rate: float, policy: str, runs: int, seed: int = 1, rows: int | None = None) -> Tally:
    """Coverage of the intervals of a finished log, and of sequences looked at after every batch."""
    world, rng, tally = make_world(rate), np.random.default_rng(seed), Tally()
    length = ROWS[rate] if rows is None else rows
    done = 0
    for size in chunks(runs):
        logs = collect(world, policy, size, length, rng)
        for i in range(size):
            score_run(world.value, logs, i, tally, slow=done + i < SLOW_RUNS)
        done += size
    return tally


def score_run(truth: float, logs: Logs, i: int, tally: Tally, *, slow: bool, looks: int = BATCHES) -> Report:
    """Add every interval of run `i` to the tally, the sequences at `looks` equally spaced looks; the final report."""
    w, r, q, v = logs.w[i], logs.r[i], logs.q[i], logs.v[i]
    settings = Settings(0.05, logs.max_weight, (0.0, 1.0), True, sums.Thresholds(8.0, 8.0, 64.0))
    total: sums.PolicySums | None = None
    state, batch = sequences.START, len(w) // looks
    missed: dict[str, bool] = defaultdict(bool)
    for step in range(looks):
        cut = slice(step * batch, (step + 1) * batch)
        part = sums.policy_sums(w[cut], r[cut], q[cut], v[cut], settings.thresholds)
        total = part if total is None else sums.merge(total, part)
        state = sequences.advance(state, w[cut], r[cut], (0.0, 1.0))
        missed["confidence_sequence, every batch"] |= _gamma_misses(state, truth)
        result = report.report_from_sums(total, settings, with_model=True, sequence=state)
        for name in ("ips", "dr"):
            interval = result.estimators[name].intervals["asymptotic_sequence"]
            missed[f"{name} asymptotic_sequence, every batch"] |= interval.exists and not interval.covers(truth)
            if step >= 1:
                normal = result.estimators[name].intervals["normal"]
                missed[f"{name} normal, every batch (not valid)"] |= not normal.covers(truth)
    _final(result, tally, truth)
    for name, miss in missed.items():
        tally.hits[name].append(not miss)
    interval = likelihood.empirical_likelihood(w, r, (0.0, 1.0), logs.max_weight)
    tally.add("ips empirical_likelihood", interval[:2], truth)
    if slow:
        # A running intersection: if it misses at the end, or is empty, it missed at some look.
        tally.hits["betting, every row"].append(betting.interval(w, r).covers(truth))
    return result


def _final(result: Report, tally: Tally, truth: float) -> None:
    if not result.verdict.identified:
        tally.refused["verdict"] += 1
    for name in ("ips", "snips", "dr", "sndr"):
        tally.add(f"{name} normal", result.estimators[name].intervals["normal"][:2], truth)
    for name in ("ips", "dr"):
        tally.add(f"{name} empirical_bernstein", result.estimators[name].intervals["empirical_bernstein"][:2], truth)
    for name in ("clipped_ips", "switch_dr", "dr_os"):
        tally.add(f"{name} bias_aware", result.estimators[name].intervals["bias_aware"][:2], truth)
    tally.add("ips cressie_read", result.estimators["ips"].intervals["cressie_read"][:2], truth)
    tally.add("ips confidence_sequence", result.estimators["ips"].intervals["confidence_sequence"][:2], truth)


def _gamma_misses(state: sequences.SequenceState, truth: float) -> bool:
    """Whether the sequence excludes the truth at this look, without solving for its ends."""
    low = sequences.log_wealth(state.low_sum - state.t * truth, state.low_spread)
    high = sequences.log_wealth(state.high_sum - state.t * (1 - truth), state.high_spread)
    return bool(max(float(low), float(high)) >= log(2 / 0.05))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--only", choices=("off_policy", "arms", "actions", "alarms", "lost"))
    parser.add_argument("--rate", type=float, choices=sorted(ROWS))
    options = parser.parse_args()
    sections: dict[str, Callable[[], None]] = {
        "off_policy": lambda: _print_off_policy(options.runs, options.rate),
        "arms": lambda: _print_arms(options.runs),
        "actions": lambda: _print_actions(options.runs),
        "alarms": lambda: _print_alarms(max(options.runs // 2, 1)),
        "lost": lambda: print(f"\n3% lost exposures found: {lost_exposures(max(options.runs // 20, 1)):.1%} of runs"),
    }
    for name, section in sections.items():
        if options.only in (None, name):
            start = time.perf_counter()
            section()
            print(f"\n({name}: {time.perf_counter() - start:.0f} s)", flush=True)


def _print_off_policy(runs: int, rate: float | None) -> None:
    for reward_rate in ROWS if rate is None else (rate,):
        tallies = {policy: off_policy(reward_rate, policy, runs) for policy in POLICIES}
        print_tally(f"Reward rate {reward_rate:.0%}, {ROWS[reward_rate]} rows, {runs} runs", tallies)


def _print_arms(runs: int) -> None:
    settings = [(policy, decay) for decay in (0.3, 0.7) for policy in ("epsilon_greedy", "thompson")]
    tallies = {f"{policy}, floor t^-{decay}": arms(policy, runs, decay=decay) for policy, decay in settings}
    print_tally(f"Arms of a bandit, 4,000 rounds, {runs} runs", tallies)


def _print_actions(runs: int) -> None:
    settings = [(2000, 0.1, 0.0), (4000, 0.2, 0.0), (4000, 0.3, 0.3), (20_000, 0.05, 0.0)]
    tallies = {
        f"{rows:,} rows, floor {floor:g}" + (f" t^-{decay:g}" if decay else ""): actions(rows, floor, decay, runs)
        for rows, floor, decay in settings
    }
    print_tally(f"Actions of a learner that reads a context, {runs} runs", tallies)


def _print_alarms(runs: int) -> None:
    print(f"\n| sequential check, {runs} clean runs, every tenth a ramp | false alarms |\n|---|---|")
    for name, share in false_alarms(runs).items():
        print(f"| {name} | {share:.1%} |")


if __name__ == "__main__":
    main()
