"""python -m benchmarks.caps: how often the interval for a tighter cap misses the cap's true value.

One opportunity a day for a week. A message earns more than silence, but each message of a week reduces the value of
the following ones. The log is collected under a cap of three a week, and the estimate is for a cap of two. For some numbers of
units and rates of speaking, the table has the share of logs in which the 95% interval missed: that of the value, and that of
the paired difference to the logged value.
"""

import argparse
from typing import NamedTuple

import numpy as np

from experiments.off_policy.trajectories import CapRatios, TrajectoryValue, cap_ratios, used, value
from experiments.validation import FloatArray

DAY = 86_400.0
DAYS = 7
CASES = ((0.35, 800), (0.5, 3000), (0.5, 800), (0.5, 200), (0.5, 100))


class Log(NamedTuple):
    """Decisions of many units, by unit and time."""

    units: FloatArray
    times: FloatArray
    said: FloatArray
    mass: FloatArray
    rewards: FloatArray


def simulate(seed: int, units: int, cap: int, *, speak: float = 0.35) -> Log:
    """A log of a week under a cap."""
    rng = np.random.default_rng(seed)
    columns = np.zeros((5, units, DAYS))
    columns[0] = np.arange(units)[:, None]
    recent = np.zeros(units)  # the run lasts one week, so no message leaves the window
    for day in range(DAYS):
        mass = np.where(recent < cap, speak, 0.0)
        says = rng.random(units) < mass
        mean = np.where(says, 0.7 - 0.3 * recent, np.maximum(0.3 - 0.1 * recent, 0))
        columns[1:, :, day] = day * DAY + rng.uniform(0, DAY / 2, units), says, mass, rng.random(units) < mean
        recent += says
    return Log(*(column.ravel() for column in columns))


def ragged(log: Log, seed: int) -> Log:
    """The log when units come on the first 1 to 7 days only, and few units on all days."""
    days = 1 + np.random.default_rng(seed).binomial(DAYS - 1, 0.35, int(log.units.max()) + 1)
    day = np.arange(len(log.units)) % DAYS
    return Log(*(column[day < days[log.units.astype(int)]] for column in log))


def truth(cap: int, *, speak: float = 0.35) -> float:
    """The value of a unit's week under a cap, from a million units."""
    return float(simulate(99, 1_000_000, cap, speak=speak).rewards.sum() / 1_000_000)


def ratios(log: Log, limit: int) -> CapRatios:
    """The ratios for a tighter cap."""
    return cap_ratios(used(log.units, log.times, log.said, DAYS * DAY), log.said, log.mass, limit=limit)


def evaluated(log: Log, limit: int) -> TrajectoryValue:
    """The log's estimate for a tighter cap."""
    cap = ratios(log, limit)
    return value(log.units, log.times, cap.ratios, log.rewards, touched=int(cap.reached.sum()))


def missed(speak: float, units: int, runs: int) -> tuple[float, float, float]:
    """Shares of the runs in which the interval of the value and that of the difference missed; mean effective units."""
    two, three = truth(2, speak=speak), truth(3, speak=speak)
    values = [evaluated(simulate(seed, units, 3, speak=speak), 2) for seed in range(runs)]
    wrong = [not estimate.interval[0] <= two <= estimate.interval[1] for estimate in values]
    apart = [
        not estimate.difference_interval[0] <= two - three <= estimate.difference_interval[1] for estimate in values
    ]
    return (
        float(np.mean(wrong)),
        float(np.mean(apart)),
        float(np.mean([estimate.effective_units for estimate in values])),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.caps", description=__doc__)
    parser.add_argument("--runs", type=int, default=1500)
    runs = parser.parse_args().runs
    print("speaks  units  effective  value missed  difference missed")
    for speak, units in CASES:
        wrong, apart, effective = missed(speak, units, runs)
        print(f"{speak:6.2f} {units:6,} {effective:10.0f} {wrong:13.1%} {apart:18.1%}")


if __name__ == "__main__":
    main()
