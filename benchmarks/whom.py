"""python -m benchmarks.whom: are the figures of "What works for whom" honest on the log of a learner?

The world: units of uneven activity return, each with a plan, a colour and a lasting mood. Three actions; on plan "pro"
action b is best, elsewhere all are alike; the colour changes nothing. A unit's arm is drawn once: always a (.25), each
action alike (.15), or a learner (.60), which after each of 20 batches learns the means by plan and takes the best, with a
floor of .02. Scores use the platform's mixture and means of earlier batches. "Value" says how often 95% intervals for one
look hold the truth, over all cells that have one, and over cells where fewer than 60 effective units had the action, or
more; "difference" the same of intervals for every look; "refused" how many cells have none. "Marked" is the share of runs
in which some cell is marked as different from the control (Benjamini-Hochberg), at the end and at some of 5 looks: where
all actions are alike, these are false alarms. "Segments" is the share of runs in which some segment differs although
both arms are one (always-valid p-values at 10 looks, Holm).
"""

import argparse
import time
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.comparison import arm_moments
from experiments.arms.strata import compare_strata
from experiments.multiplicity import adjust
from experiments.off_policy import by_value
from experiments.off_policy.by_value import Log, Scores

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BATCHES, FLOOR, SHARES, ALPHA = 20, 0.02, (0.25, 0.15, 0.60), 0.05
PLANS, COLOURS, ACTIONS = np.array([0.5, 0.3, 0.2]), 4, 3
MATTERS = np.array([[0.3, 0.3, 0.3], [0.3, 0.5, 0.3], [0.3, 0.3, 0.3]])  # mean reward by plan and action
ALIKE = np.full((3, 3), 0.3)
MOOD, LOOKS, PEEKS, MIN_ARM, RARE, EFFECT, SEED = 0.15, 10, 5, 20, 60, 0.2, 11


class World(NamedTuple):
    """How a log comes about."""

    units: int
    rows: int
    means: Floats = MATTERS
    rate: float = 1.0  # factor of all rewards' chances
    heavy: float = 0.0  # share of the rows that one unit has


class Drawn(NamedTuple):
    """A log, and what is known of each row."""

    log: Log
    fields: dict[str, Ints]


def draw(world: World, random: np.random.Generator) -> Drawn:
    """A log of a world."""
    activity = random.gamma(2.0, 1.0, world.units)
    activity[0] = world.heavy / (1 - world.heavy) * activity[1:].sum() if world.heavy else activity[0]
    unit = random.choice(world.units, world.rows, p=activity / activity.sum())
    plan, colour = random.choice(3, world.units, p=PLANS)[unit], random.integers(0, COLOURS, world.units)[unit]
    mood, arm = random.uniform(-MOOD, MOOD, world.units)[unit], random.choice(3, world.units, p=SHARES)[unit]
    part = np.arange(world.rows) * BATCHES // world.rows
    logged, predictions = np.zeros((world.rows, ACTIONS)), np.full((world.rows, ACTIONS), 0.3 * world.rate)
    chosen, reward = np.zeros(world.rows, dtype=np.int64), np.zeros(world.rows)
    learned, seen = _Means(), _Means()
    for number in range(BATCHES):
        rows = np.flatnonzero(part == number)
        x = plan[rows]
        chances = np.stack(
            [np.tile(np.eye(ACTIONS)[0], (len(rows), 1)), np.full((len(rows), 3), 1 / 3), learned.policy()[x]]
        )
        logged[rows] = np.einsum("s,snk->nk", SHARES, chances)
        predictions[rows] = seen.means(0.3 * world.rate)[x]
        own = chances[arm[rows], np.arange(len(rows))]
        chosen[rows] = (own.cumsum(axis=1) < random.random((len(rows), 1))).sum(axis=1).clip(max=ACTIONS - 1)
        chance = (world.means[x, chosen[rows]] + mood[rows]) * world.rate
        reward[rows] = random.random(len(rows)) < chance
        seen.learn(x, chosen[rows], reward[rows])
        mine = arm[rows] == 2
        learned.learn(x[mine], chosen[rows][mine], reward[rows][mine])
    log = Log(logged, predictions, chosen, reward, np.unique(unit, return_inverse=True)[1], part, (0.0, 1.0))
    return Drawn(log, {"plan": plan, "colour": colour})


class _Means:
    """Mean rewards by plan and action."""

    def __init__(self) -> None:
        self.sums, self.counts = np.zeros((3, ACTIONS)), np.zeros((3, ACTIONS))

    def learn(self, plan: Ints, action: Ints, reward: Floats) -> None:
        np.add.at(self.sums, (plan, action), reward)
        np.add.at(self.counts, (plan, action), 1.0)

    def means(self, prior: float) -> Floats:
        means: Floats = (self.sums + prior) / (self.counts + 1)
        return means

    def policy(self) -> Floats:
        """The best action by plan, with the floor; all alike before anything is learned."""
        if not self.counts.any():
            return np.full((3, ACTIONS), 1 / ACTIONS)
        best: Floats = np.eye(ACTIONS)[self.means(1.0).argmax(axis=1)]
        policy: Floats = (1 - FLOOR) * best + FLOOR / ACTIONS
        return policy


def truths(world: World, field: str, value: int) -> Floats:
    """The mean reward of each action where the field has a value."""
    return world.rate * (world.means[value] if field == "plan" else PLANS @ world.means)


def score(world: World, random: np.random.Generator, tally: dict[str, list[float]]) -> None:
    """Draw a log, estimate every cell at the end and at earlier looks, and note what held."""
    log, fields = draw(world, random)
    targets, gaps = _scores(log)
    for field, codes in fields.items():
        for value in np.unique(codes):
            rows, truth = codes == value, truths(world, field, int(value))
            for k in range(ACTIONS):
                found = by_value.value(log, targets[k], rows)
                tally["refused"].append(float(not found.interval.exists))
                if found.interval.exists:
                    tally["value"].append(float(found.interval.covers(truth[k])))
                    tally["rare choice" if found.units < RARE else "usual choice"].append(tally["value"][-1])
                gap = by_value.difference(log, targets[k], targets[0], gaps[k], rows)
                if gap.interval.exists:
                    tally["difference"].append(float(gap.interval.covers(truth[k] - truth[0])))
    looks = [_marks(log, fields, rows) for rows in np.linspace(0, world.rows, PEEKS + 1).astype(int)[1:]]
    tally["marked"].append(float(looks[-1]))
    tally["at some look"].append(float(any(looks)))


def _scores(log: Log) -> tuple[list[Scores], list[Scores]]:
    """Scores of every action, and of every action minus the control's."""
    eye = [np.tile(np.eye(ACTIONS)[k], (len(log.reward), 1)) for k in range(ACTIONS)]
    return [by_value.score(log, target) for target in eye], [by_value.score(log, target - eye[0]) for target in eye]


def _marks(log: Log, fields: dict[str, Ints], rows: int) -> bool:
    """Whether some cell of the first rows is marked as different from the control."""
    part = log._replace(
        logged=log.logged[:rows],
        predictions=log.predictions[:rows],
        chosen=log.chosen[:rows],
        reward=log.reward[:rows],
        unit=log.unit[:rows],
        part=log.part[:rows],
    )
    targets, gaps = _scores(part)
    p_values = [
        by_value.difference(part, targets[k], targets[0], gaps[k], codes[:rows] == value).p_value
        for codes in fields.values()
        for value in np.unique(codes[:rows])
        for k in range(1, ACTIONS)
    ]
    return any(p is not None and p <= ALPHA for p in adjust(p_values, "fdr_bh"))


def alarms(units: int, segments: int, random: np.random.Generator, effect: float = 0.0) -> bool:
    """Whether some segment is said to differ at any of several looks; the arms differ by `effect` in the first segment."""
    segment, arm = random.integers(0, segments, units), random.integers(0, 2, units)
    decisions = 1 + random.poisson(random.gamma(1.0, 2.0, units))
    rate = random.beta(2.0, 5.0, units) + effect * ((segment == 0) & (arm == 1))
    total = random.binomial(decisions, np.minimum(rate, 1.0)).astype(np.float64)
    running: list[float | None] = [None] * segments
    for seen in np.linspace(0, units, LOOKS + 1).astype(int)[1:]:
        for number in range(segments):
            here = [np.flatnonzero((segment[:seen] == number) & (arm[:seen] == side)) for side in (0, 1)]
            p, before = _p_value(total, decisions, here), running[number]
            running[number] = p if before is None else before if p is None else min(p, before)
    return any(p is not None and p <= ALPHA for p in adjust(running))


def _p_value(total: Floats, decisions: Ints, arms: list[Ints]) -> float | None:
    """The always-valid p-value of two arms, by the indexes of their units; None where it cannot be given yet."""
    if min(len(units) for units in arms) < MIN_ARM:
        return None
    cells = [ArmCell(arm_moments(total[units], decisions[units]), float(total[units].mean())) for units in arms]
    return compare_strata([Stratum(cells[0], cells[1], 0.5)]).always_valid.p_value


WORLDS = {
    "3,000 rows, 800 units": World(800, 3000),
    "10,000 rows, 3,000 units": World(3000, 10_000),
    "3,000 rows, 120 units": World(120, 3000),
    "3,000 rows, 800 units, one with 10% of the rows": World(800, 3000, heavy=0.1),
    "10,000 rows, 3,000 units, a tenth of the rewards": World(3000, 10_000, rate=0.1),
    "3,000 rows, 800 units, all actions alike": World(800, 3000, means=ALIKE),
    "3,000 rows, 40 units": World(40, 3000),
}


def measure(runs: int = 200) -> None:
    """Print the tables."""
    began = time.perf_counter()
    names = ("value", "rare choice", "usual choice", "difference", "refused", "marked", "at some look")
    print(f"\n{runs} runs; 95% intervals\n\n| log | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for name, world in WORLDS.items():
        random, tally = np.random.default_rng(SEED), defaultdict[str, list[float]](list)
        for _ in range(runs):
            score(world, random, tally)
        figures = [f"{100 * float(np.mean(tally[column])):.1f}%" if tally[column] else "" for column in names]
        print(f"| {name} | {' | '.join(figures)} |", flush=True)
    for units, segments in ((8000, 8), (20_000, 20)):
        shares = []
        for effect in (0.0, EFFECT):
            random = np.random.default_rng(SEED)
            shares.append(100 * float(np.mean([alarms(units, segments, random, effect) for _ in range(runs)])))
        words = f"{shares[0]:.1f}% of runs; with a difference of {EFFECT} in one of them {shares[1]:.1f}%"
        print(f"\nsegments that differ, {segments} of {units} units in two equal arms: {words}")
    print(f"\n{time.perf_counter() - began:.0f} s")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whom", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    measure(parser.parse_args().runs)


if __name__ == "__main__":
    main()
