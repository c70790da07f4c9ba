"""python -m benchmarks.fairness [runs]: are findings about gaps between groups of users honest on the log of a learner?

The world: units come one after the other, each with a plan (40% free), a region (of four) and a lasting mood, and make one
to many decisions. Free users earn 0.1 less under every action: the world's gap. A unit's arm is drawn once: each of three actions
alike (.5), or a learner (.5), which after each of 10 batches learns the means by plan from the whole log and takes the best, with
a floor of .1. Both fields are compared at each of 10 looks, and p-values corrected by Holm over all groups. "Alarms" is the share
of equal worlds in which some look marks some group. "Found" is how often a planted gap is marked: free users in the learner's
arm earn a tenth less than their plan and the action explain. It says by how many units, too.
"""

import argparse

import numpy as np
import numpy.typing as npt

from experiments.fairness.gaps import NOTHING, Cell, excess_gap
from experiments.multiplicity import adjust

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LOOKS, FLOOR, ALPHA, SPREAD = 10, 0.1, 0.05, 12.0
MEANS = np.array([0.5, 0.55, 0.6])  # by action, on the paid plan
FREE = -0.1
REGIONS = 4


def found_at(random: np.random.Generator, units: int, planted: float) -> int | None:
    """Units after which some group was marked for the first time; null: at no look.

    :param planted: share of their reward that free users lose in the learner's arm.
    """
    totals, weights = np.full((2, 3), 0.5), np.ones((2, 3))
    cells: dict[tuple[str, int, int], Cell] = {}
    for look in range(1, LOOKS + 1):
        count = units // LOOKS
        plan, region, learner = (
            random.integers(0, 5, count) < 2,
            random.integers(0, REGIONS, count),
            random.random(count) < 0.5,
        )
        decisions = 1 + random.poisson(random.gamma(1.0, 2.0, count))
        reward = np.zeros(count)
        best = np.argmax(totals / weights, axis=1)
        for unit in range(count):
            chances = np.full(3, FLOOR / 3) if learner[unit] else np.full(3, 1 / 3)
            chances[best[int(plan[unit])]] += 1 - FLOOR if learner[unit] else 0.0
            drawn = random.multinomial(decisions[unit], chances / chances.sum())
            means = MEANS + FREE * plan[unit]
            means = means * (1 - planted if learner[unit] and plan[unit] else 1.0)
            mood = np.clip(random.beta(SPREAD * means, SPREAD * (1 - means)), 0, 1)
            paid = random.binomial(drawn, mood)
            reward[unit] = paid.sum()
            totals[int(plan[unit])] += paid
            weights[int(plan[unit])] += drawn
        _add(cells, "plan", plan.astype(np.int64), learner, decisions, reward)
        _add(cells, "region", region, learner, decisions, reward)
        if marked(cells):
            return look * count
    return None


def _add(
    cells: dict[tuple[str, int, int], Cell], field: str, value: Ints, learner: npt.NDArray[np.bool_], k: Ints, s: Floats
) -> None:
    for arm in (0, 1):
        for group in np.unique(value).tolist():
            own = (value == group) & (learner == bool(arm))
            n, r = k[own].astype(float), s[own]
            cell = Cell(len(n), n.sum(), r.sum(), n @ n, r @ r, n @ r)
            cells[field, arm, group] = cells.get((field, arm, group), NOTHING).plus(cell)


def marked(cells: dict[tuple[str, int, int], Cell]) -> bool:
    """Whether some group's excess is marked after correction over all groups."""
    p_values = []
    for field, arm, group in cells:
        if arm == 1:
            pairs = [(cells[field, one, group], _others(cells, field, one, group)) for one in (1, 0)]
            p_values.append(excess_gap(pairs[0], pairs[1], alpha=ALPHA).p_value)
    return any(p is not None and p <= ALPHA for p in adjust(p_values))


def _others(cells: dict[tuple[str, int, int], Cell], field: str, arm: int, group: int) -> Cell:
    total = NOTHING
    for (name, own, value), cell in cells.items():
        if (name, own) == (field, arm) and value != group:
            total = total.plus(cell)
    return total


def main() -> None:
    """Print the figures of docs/statistics.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=1000)
    runs = parser.parse_args().runs
    alarms = sum(found_at(np.random.default_rng([1, run]), 3_000, 0.0) is not None for run in range(runs))
    print(f"equal worlds of 3,000 units: {alarms} of {runs} alarm at some of {LOOKS} looks")
    fewer = max(runs // 10, 1)
    found = [found_at(np.random.default_rng([2, run]), 20_000, 0.1) for run in range(fewer)]
    known = [units for units in found if units is not None]
    print(
        f"a gap of 10%: found in {len(known)} of {fewer} runs; median {np.median(known):,.0f} units, largest {max(known):,}"
    )


if __name__ == "__main__":
    main()
