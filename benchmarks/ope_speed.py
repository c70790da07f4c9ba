"""Off-policy intervals on 1,000,000 rounds x 10 actions: time as a ratio, and peak memory beside the input.

    python -m benchmarks.ope_speed [--rounds 1000000] [--actions 10]

Same arrays, same run: the project's sums (IPS, SNIPS, DR and Cressie-Read with intervals, from dense distributions and
predictions) compared with plain numpy, and with the Open Bandit Pipeline's own functions if it can be
imported (docs/statistics.md says how; it is not a dependency). Values are compared before anything is timed. Time is
processor time (all of it runs on one thread), the best of five warm runs; memory is what a run allocates beyond the
input arrays. Other work on the machine still takes caches and memory bandwidth, so run it alone.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments import sums
from experiments.off_policy import intervals
from experiments.validation import FloatArray

CHUNK = 1 << 14
BOOTSTRAP_DRAWS = 100
UNUSED = sums.Thresholds(float("inf"), float("inf"), float("inf"))


class Arrays(NamedTuple):
    """The input, as the Open Bandit Pipeline takes it."""

    action: npt.NDArray[np.int64]
    reward: FloatArray
    pscore: FloatArray
    target: FloatArray
    predictions: FloatArray


Ends = tuple[float | None, float | None]
Run = Callable[[Arrays], dict[str, Ends]]


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


def ours(a: Arrays) -> dict[str, Ends]:
    """Intervals from mergeable sums, chunk by chunk, as a Celery task or a database cursor computes them."""
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
    estimates = sums.finish(total.moments, with_model=True)
    out = {n: intervals.normal(estimates[n].value, estimates[n].std_error)[:2] for n in ("ips", "snips", "dr")}
    out["cressie_read"] = intervals.cressie_read(intervals.weight_sums_of(total.moments), (0, 1), 1000.0)[:2]
    return out


def naive(a: Arrays) -> dict[str, Ends]:
    """The same intervals with whole-array numpy, each computed separately."""
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


def best_times(runs: dict[str, Run], a: Arrays, repeats: int) -> dict[str, float]:
    """Processor seconds of the best of several warm runs; each round runs all of them, so that all meet the same load."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time()
            run(a)
            times[name].append(time.process_time() - start)
    return {name: min(seconds[1:]) for name, seconds in times.items()}


def peak_bytes(run: Run, a: Arrays) -> int:
    """Most bytes that a run holds beyond its input (numpy reports its buffers to tracemalloc)."""
    tracemalloc.start()
    run(a)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def open_bandit_pipeline(draws: int = BOOTSTRAP_DRAWS) -> dict[str, Run]:
    """The calculations of obp on the same arrays, by their names in the table; empty if obp cannot be imported."""
    try:
        from obp import ope  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return {}
    estimators = {
        "ips": ope.InverseProbabilityWeighting(),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dr": ope.DoublyRobust(),
    }

    def arguments(a: Arrays) -> dict[str, Any]:
        return {
            "reward": a.reward,
            "action": a.action,
            "pscore": a.pscore,
            "action_dist": a.target[:, :, None],
            "estimated_rewards_by_reg_model": a.predictions[:, :, None],
        }

    def points(a: Arrays) -> dict[str, Ends]:
        values = {
            name: float(estimator.estimate_policy_value(**arguments(a))) for name, estimator in estimators.items()
        }
        return {name: (value, value) for name, value in values.items()}

    def one_point(a: Arrays) -> dict[str, Ends]:
        value = float(estimators["dr"].estimate_policy_value(**arguments(a)))
        return {"dr": (value, value)}

    def bootstrap(a: Arrays) -> dict[str, Ends]:
        out: dict[str, Ends] = {}
        for name, estimator in estimators.items():
            interval = estimator.estimate_interval(**arguments(a), n_bootstrap_samples=draws, random_state=1)
            out[name] = interval["95.0% CI (lower)"], interval["95.0% CI (upper)"]
        return out

    return {
        "obp: DR, value alone": one_point,
        "obp: IPS, SNIPS, DR, values alone": points,
        f"obp: the same with bootstrap intervals of {draws} draws": bootstrap,
    }


def check(a: Arrays, others: dict[str, Run]) -> None:
    """Check that all give the same values: obp's are the middles of our normal intervals."""
    expected = ours(a)
    for name, ends in naive(a).items():
        assert np.allclose(np.array(ends, dtype=float), np.array(expected[name], dtype=float), rtol=1e-9), name
    for words, run in others.items():
        for name, (low, high) in run(a).items() if "alone" in words else ():
            assert low is not None and high is not None
            middle = float(np.mean(np.array(expected[name], dtype=float)))
            assert np.isclose((low + high) / 2, middle, rtol=1e-9), (words, name, low, middle)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    a = make(options.rounds, options.actions)
    others = open_bandit_pipeline()
    check(a, others)
    print(f"{options.rounds} rounds x {options.actions} actions, input {sum(x.nbytes for x in a) / 1e6:.0f} MB")
    print(
        "| implementation | processor seconds | peak beside the input, MB | time against the first |\n|---|---|---|---|"
    )
    runs: dict[str, Run] = {"mergeable sums, chunks": ours, "naive numpy, whole arrays": naive, **others}
    seconds = best_times(runs, a, options.repeats)
    base = seconds[next(iter(runs))]
    for name, run in runs.items():
        print(f"| {name} | {seconds[name]:.3f} | {peak_bytes(run, a) / 1e6:.1f} | {seconds[name] / base:.2f} |")
    if not others:
        print("obp (the Open Bandit Pipeline) cannot be imported: compared with naive numpy only")


if __name__ == "__main__":
    main()
