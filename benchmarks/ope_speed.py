"""Off-policy intervals on 1,000,000 rounds x 10 actions: time as a ratio, and peak memory beside the input.

    python -m benchmarks.ope_speed [--rounds 1000000] [--actions 10]

Same arrays, same run: the project's sums (IPS, SNIPS, DR and Cressie-Read with intervals, from dense distributions and
predictions) against numpy as one writes it first, and against the Open Bandit Pipeline where it is installed. Time is
the best of five warm runs; memory is what a run allocates beyond the input arrays. It must never run beside other
work.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments import intervals, sums
from experiments.validation import FloatArray

CHUNK = 1 << 14
UNUSED = sums.Thresholds(float("inf"), float("inf"), float("inf"))


class Arrays(NamedTuple):
    """The input, as the Open Bandit Pipeline takes it."""

    action: npt.NDArray[np.int64]
    reward: FloatArray
    pscore: FloatArray
    target: FloatArray
    predictions: FloatArray


def make(rounds: int, actions: int, seed: int = 0) -> Arrays:
    """Random logs; the logging policy is a softmax per round, the target another one."""
    rng = np.random.default_rng(seed)
    logging = rng.gamma(2.0, size=(rounds, actions))
    logging /= logging.sum(axis=1, keepdims=True)
    action = (rng.random((rounds, 1)) > np.cumsum(logging, axis=1)[:, :-1]).sum(axis=1)
    target = rng.gamma(1.5, size=(rounds, actions))
    target /= target.sum(axis=1, keepdims=True)
    predictions = rng.uniform(0, 0.2, size=(rounds, actions))
    reward = (rng.random(rounds) < 0.1).astype(np.float64)
    return Arrays(action, reward, logging[np.arange(rounds), action], target, predictions)


def ours(a: Arrays) -> dict[str, tuple[float | None, float | None]]:
    """Intervals from mergeable sums, chunk by chunk: the road that a Celery task or a database cursor takes."""
    total: sums.PolicySums | None = None
    for start in range(0, len(a.reward), CHUNK):
        cut = slice(start, start + CHUNK)
        target, predictions, action = a.target[cut], a.predictions[cut], a.action[cut, None]
        w = np.take_along_axis(target, action, axis=1)[:, 0] / a.pscore[cut]
        q = np.take_along_axis(predictions, action, axis=1)[:, 0]
        v = np.einsum("ij,ij->i", target, predictions)
        part = sums.policy_sums(w, a.reward[cut], q, v, UNUSED)
        total = part if total is None else sums.merge(total, part)
    assert total is not None
    found = sums.finish(total.moments, with_model=True)
    out = {n: intervals.normal(found[n].value, found[n].std_error)[:2] for n in ("ips", "snips", "dr")}
    out["cressie_read"] = intervals.cressie_read(intervals.weight_sums_of(total.moments), (0, 1), 1000.0)[:2]
    return out


def naive(a: Arrays) -> dict[str, tuple[float | None, float | None]]:
    """The same intervals with whole-array numpy, each written on its own."""
    rounds = np.arange(len(a.reward))

    def interval(value: float, rows: FloatArray) -> tuple[float, float]:
        half = 1.959963984540054 * float(rows.std(ddof=1)) / len(rows) ** 0.5
        return value - half, value + half

    w = a.target[rounds, a.action] / a.pscore
    ips = w * a.reward
    snips = float(ips.sum() / w.sum())
    q, v = a.predictions[rounds, a.action], (a.target * a.predictions).sum(axis=1)
    dr = v + w * (a.reward - q)
    return {
        "ips": interval(float(ips.mean()), ips),
        "snips": interval(snips, w * (a.reward - snips) / w.mean()),
        "dr": interval(float(dr.mean()), dr),
        "cressie_read": intervals.cressie_read(intervals.weight_sums(w, a.reward), (0, 1), 1000.0)[:2],
    }


def best_time(run: Callable[[Arrays], Any], a: Arrays, repeats: int = 5) -> float:
    """Seconds of the best of several warm runs."""
    run(a)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(a)
        times.append(time.perf_counter() - start)
    return min(times)


def peak_bytes(run: Callable[[Arrays], Any], a: Arrays) -> int:
    """Most bytes that a run holds beyond its input (numpy reports its buffers to tracemalloc)."""
    tracemalloc.start()
    run(a)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def open_bandit_pipeline() -> Callable[[Arrays], Any] | None:
    """obp's DR point estimate on the same arrays, or None where obp is not installed."""
    try:
        from obp.ope import DoublyRobust  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def run(a: Arrays) -> float:
        return float(
            DoublyRobust().estimate_policy_value(
                reward=a.reward,
                action=a.action,
                pscore=a.pscore,
                action_dist=a.target[:, :, None],
                estimated_rewards_by_reg_model=a.predictions[:, :, None],
            )
        )

    return run


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=10)
    options = parser.parse_args()
    a = make(options.rounds, options.actions)
    for name, known in naive(a).items():
        assert np.allclose(np.array(known, dtype=float), np.array(ours(a)[name], dtype=float), rtol=1e-9), name
    print(f"{options.rounds} rounds x {options.actions} actions, input {sum(x.nbytes for x in a) / 1e6:.0f} MB")
    print("| implementation | seconds | peak beside the input, MB | time against naive numpy |\n|---|---|---|---|")
    runs: dict[str, Callable[[Arrays], Any]] = {"naive numpy, whole arrays": naive, "mergeable sums, chunks": ours}
    other = open_bandit_pipeline()
    if other is not None:
        runs["obp 0.5 DR point only"] = other
    base = best_time(naive, a)
    for name, run in runs.items():
        seconds = base if run is naive else best_time(run, a)
        print(f"| {name} | {seconds:.3f} | {peak_bytes(run, a) / 1e6:.1f} | {seconds / base:.2f} |")
    if other is None:
        print("obp is not installed: compared with naive numpy only")


if __name__ == "__main__":
    main()
