"""Do intervals cover on logs that Vowpal Wabbit collected? The sibling of benchmarks/coverage.py, printed as Markdown.

    python -m benchmarks.coverage_vw --runs 2000 --processes 2
    python -m benchmarks.coverage_vw --runs 200 --rate 0.1

The world is the same, but the platform itself collects the log: a `squarecb` policy with its exploration floor, whose
model learns each batch through `bandits.model.learn` and serves the next one through `Predictor` and `distribution`,
as the worker and the server do; the first batch is uniform. A context has one distribution per batch, so that a batch
is drawn at once. Here too, q is the mean of earlier batches (forward cross-fit), and nothing may be tuned until it
passes. Run i has its own random generator, so that the table does not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

from bandits.cost import cost_of
from bandits.distribution import uniform
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution, initial_model, learn
from bandits.policy import BanditPolicy
from benchmarks.coverage import ACTIONS, CONTEXTS, Floats, Ints, Logs, World, make_world, score_run
from benchmarks.tally import Tally, print_tally

SQUARECB = BanditPolicy("squarecb", {"bits": 12}, 0.05)
BATCHES = 10
BATCH_ROWS = {0.01: 1000, 0.1: 400, 0.9: 400}
"""Rows per batch by reward rate: the rare rewards of 1% need the most."""
RUNS_AT_ONCE = 10
SEED = 11
WARNED = "verdict warns of `rare_rewards`"
LOWEST = SQUARECB.exploration_floor / ACTIONS

ACTION_IDS = [f"a{i}" for i in range(ACTIONS)]
SHARED_LINES = [encode_context({"segment": f"s{i}"}) for i in range(CONTEXTS)]
ACTION_LINES = [encode_action(name) for name in ACTION_IDS]


class Batch(NamedTuple):
    """Decisions of one batch, shape (rows,), and the distributions that they were drawn from."""

    x: Ints
    chosen: Ints
    r: Floats
    p: Floats
    """Shape (contexts, actions): the distribution that served during the batch."""


def serve(model: bytes | None, policy: BanditPolicy = SQUARECB) -> Floats:
    """The platform's distribution in each context, shape (contexts, actions); uniform without a model."""
    if model is None:
        return np.tile(uniform(ACTIONS), (CONTEXTS, 1))
    predictor = Predictor(model, policy)
    try:
        distributions = [distribution(policy, predictor, line, ACTION_LINES, ACTION_IDS) for line in SHARED_LINES]
    finally:
        predictor.close()
    return np.stack(distributions)


def examples(batch: Batch) -> Iterator[Example]:
    """The batch as the worker hands it to Vowpal Wabbit: rewards turned into costs, propensities as logged."""
    logged = batch.p[batch.x, batch.chosen]
    for x, a, p, r in zip(batch.x.tolist(), batch.chosen.tolist(), logged.tolist(), batch.r.tolist(), strict=True):
        yield Example(SHARED_LINES[x], ACTION_LINES, a, p, cost_of(r, 0.0, 1.0))


def batches(world: World, rows: int, rng: np.random.Generator, count: int = BATCHES) -> Iterator[Batch]:
    """`count` batches of `rows` decisions, each served by a model that learned from all batches before it."""
    model = initial_model(SQUARECB)
    for step in range(count):
        p = serve(model if step else None)
        x = rng.integers(CONTEXTS, size=rows)
        chosen = (rng.random((rows, 1)) > np.cumsum(p, axis=1)[x, :-1]).sum(axis=1)
        r = (rng.random(rows) < world.means[x, chosen]).astype(np.float64)
        batch = Batch(x, chosen, r, p)
        yield batch
        if step + 1 < count:
            model = learn(model, SQUARECB, examples(batch))


def collect(world: World, rows: int, rng: np.random.Generator, count: int = BATCHES) -> Logs:
    """The log of one run; q is the mean reward per context and action in earlier batches (0 where there is none)."""
    n, s = np.zeros((CONTEXTS, ACTIONS)), np.zeros((CONTEXTS, ACTIONS))
    parts: list[tuple[Floats, Floats, Floats, Floats]] = []
    for x, chosen, r, p in batches(world, rows, rng, count):
        q = np.divide(s, n, out=np.zeros_like(s), where=n > 0)
        v = (world.target * q).sum(axis=1)
        parts.append((world.target[x, chosen] / p[x, chosen], r, q[x, chosen], v[x]))
        np.add.at(n, (x, chosen), 1.0)
        np.add.at(s, (x, chosen), r)
    w, r, q_rows, v_rows = (np.concatenate([part[i] for part in parts])[None] for i in range(4))
    return Logs(w, r, q_rows, v_rows, float(world.target.max()) / LOWEST)


def some_runs(rate: float, first: int, size: int, rows: int, count: int = BATCHES) -> Tally:
    """Runs `first` to `first + size - 1`, scored with two looks per batch."""
    world, tally = make_world(rate), Tally()
    for run in range(first, first + size):
        logs = collect(world, rows, np.random.default_rng([SEED, run]), count)
        result = score_run(world.value, logs, 0, tally, slow=False, looks=2 * count)
        warned = any(reason.code == "rare_rewards" for reason in result.verdict.reasons)
        tally.hits[WARNED].append(warned)
        for name in () if warned else ("ips", "snips", "dr", "sndr"):
            tally.add(
                f"{name} normal, runs without that warning",
                result.estimators[name].intervals["normal"][:2],
                world.value,
            )
    return tally


def extend(tally: Tally, other: Tally) -> None:
    """Add the runs of another tally."""
    for name, hits in other.hits.items():
        tally.hits[name] += hits
    for name, widths in other.widths.items():
        tally.widths[name] += widths
    for name, refused in other.refused.items():
        tally.refused[name] += refused


def off_policy(rate: float, rows: int, runs: int, processes: int, minutes: float) -> tuple[Tally, int]:
    """Coverage over `runs` runs, or over those that were done when the time was up; and their number."""
    started, tally, done = time.monotonic(), Tally(), 0
    starts = range(0, runs, RUNS_AT_ONCE)
    sizes = [min(RUNS_AT_ONCE, runs - start) for start in starts]
    with ProcessPoolExecutor(processes) as pool:
        for part, size in zip(
            pool.map(some_runs, [rate] * len(sizes), starts, sizes, [rows] * len(sizes)), sizes, strict=True
        ):
            extend(tally, part)
            done += size
            if time.monotonic() - started > 60 * minutes:
                pool.shutdown(cancel_futures=True)
                break
    return tally, done


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--rate", type=float, choices=sorted(BATCH_ROWS))
    parser.add_argument("--rows", type=int, help="per batch")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="per rate; the table says how many runs were done")
    options = parser.parse_args()
    for rate in BATCH_ROWS if options.rate is None else (options.rate,):
        started = time.perf_counter()
        rows = BATCH_ROWS[rate] if options.rows is None else options.rows
        tally, done = off_policy(rate, rows, options.runs, options.processes, options.minutes)
        title = f"Vowpal Wabbit squarecb, reward rate {rate:.0%}, {BATCHES} batches of {rows}, {done} runs"
        print_tally(title, {"squarecb": tally})
        print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
