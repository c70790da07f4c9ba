"""How often the long-term view names what becomes of an effect, in worlds whose truth is known: python -m benchmarks.ageing

Each run has units of several cohorts with a mean reward of their own (some far above the others), and an effect that depends on
the unit's age, its cohort or the calendar. The three intervals come from the code of the platform.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.arms import ageing
from experiments.arms.ageing import CHANGES, Ageing
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.strata import Level, compare_strata
from experiments.results import Interval
from experiments.sums import Moments

STEPS, COHORTS = 5, 4
FloatArray = NDArray[np.float64]


class World(NamedTuple):
    """An effect by age and cohort, in standard deviations of a step's reward, and the name that it should get."""

    name: str
    effect: Callable[[int, int], float]
    truth: str


WORLDS = (
    World("none", lambda _age, _cohort: 0.0, "steady"),
    World("constant", lambda _age, _cohort: 0.2, "steady"),
    World("good first step, bad after", lambda age, _: 0.3 if age == 0 else -0.15, "novelty"),
    World("falls at each step", lambda age, _: 0.3 - 0.15 * age, "wear_out"),
    World("grows", lambda age, _: 0.0 if age == 0 else 0.3, "growth"),
    World("later cohorts respond less", lambda _, cohort: 0.3 if cohort < COHORTS // 2 else -0.1, "cohorts"),
    World("the calendar", lambda age, cohort: 0.5 - 0.2 * (age + cohort), "calendar"),
)


def main() -> None:
    """Play each world so many times and print how often each name was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--units", type=int, default=2000, help="of each cohort")
    given = parser.parse_args()
    print("| world | should be | is | else |\n|---|---|---|---|")
    for world in WORLDS:
        names = shares(world, given.runs, given.units)
        others = ", ".join(f"{name} {share:.1%}" for name, share in names.items() if name != world.truth)
        print(
            f"| {world.name} | {world.truth} | {names.get(world.truth, 0.0):.1%} | {others or 'nothing'} |", flush=True
        )


def shares(world: World, runs: int, units: int) -> dict[str, float]:
    """How often each name was given, as a share of the runs."""
    random = np.random.default_rng(1)
    names = Counter(name_of(random, world, units) for _ in range(runs))
    return {name: count / runs for name, count in names.most_common()}


def name_of(random: np.random.Generator, world: World, units: int) -> str:
    """The name of one run."""
    first, further, steps = [], [], []
    for cohort in range(COHORTS):
        treated = random.random(units) < 0.5
        own = random.lognormal(0.0, 0.7, units)  # heavy users
        rewards = own[:, None] + random.normal(0.0, 1.0, (units, STEPS))
        for age in range(STEPS):
            rewards[treated, age] += world.effect(age, cohort)
        first.append(stratum(rewards[:, 1:].mean(axis=1) - rewards[:, 0], treated))
        further.append(stratum(rewards[:, 3:].mean(axis=1) - rewards[:, 1:3].mean(axis=1), treated))
        steps.append(stratum(rewards[:, 0], treated))
    middle = COHORTS // 2
    later, earlier = together(steps[middle:], 2 * CHANGES), together(steps[:middle], 2 * CHANGES)
    changes = Ageing(together(first, CHANGES), together(further, CHANGES), ageing.apart(later, earlier))
    name = ageing.judge(changes)
    doubtful = name in ("novelty", "wear_out", "growth") and not ageing.rules_calendar_out(changes)
    return f"{name}, or the calendar" if doubtful else name


def together(strata: list[Stratum], comparisons: int) -> Interval:
    """The interval that holds at every look, and for so many comparisons."""
    return compare_strata(strata, level=Level(comparisons=comparisons)).simultaneous


def stratum(values: FloatArray, treated: NDArray[np.bool_]) -> Stratum:
    """A cohort's values as sums."""
    return Stratum(_cell(values[~treated]), _cell(values[treated]), 0.5)


def _cell(values: FloatArray) -> ArmCell:
    mean, second = float(values.mean()), float(((values - values.mean()) ** 2).sum())
    moments = Moments(len(values), np.array([mean, 1.0]), np.array([[second, 0.0], [0.0, 0.0]]))
    return ArmCell(moments, float(np.abs(values).mean()))


if __name__ == "__main__":
    main()
