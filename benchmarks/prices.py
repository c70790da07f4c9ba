"""python -m benchmarks.prices [runs]: does the predicted cost of a bound on exposure cover the cost that it has?

The world: 600 units return, each on one of two plans. Four actions of two suppliers; what pays depends on the plan, and the south
pays less. A unit's arm is drawn once: each action alike (.3), or a learner (.7), which after each of 10 batches learns
the means by plan from the whole log and takes the best, with a floor of .1. The newest nine tenths are scored, with means of
earlier batches as predictions. The true cost of a bound is what the learner's distributions earn less within it, by the true
means, on the same contexts. "Covered" says how often the 95% interval of the predicted cost holds it; "drift" how far a floor of
5% of each group is from 5% in the draw.
"""

import argparse
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.off_policy.bounds.pricing import along, within
from app.off_policy.evaluation_request import PriceQuestion
from app.off_policy.log_table import LogTable
from app.off_policy.mixture import mixed
from app.off_policy.policies import Target
from app.off_policy.store.evaluations import LoggedRow
from app.off_policy.valued import Sample
from bandits.encoding import encode_action, encode_context
from bandits.exposure import Exposure, groups_of
from bandits.policy import BanditPolicy, parse_policy

Floats = npt.NDArray[np.float64]
ACTIONS = ["a", "b", "c", "d"]
LINES = [encode_action(name, {"supplier": "north" if name in "ab" else "south"}) for name in ACTIONS]
MEANS = np.array([[0.6, 0.4, 0.3, 0.2], [0.3, 0.5, 0.35, 0.45]])  # by plan and action
UNITS, BATCHES, BATCH, FLOOR, LEARNER = 600, 10, 240, 0.1, 0.7
BOUNDS = [0.05, 0.2, 0.35, 0.5]


class Run(NamedTuple):
    """A log with what is true of it."""

    sample: Sample
    free: Floats  # (n, K) the learner's distribution
    truth: Floats  # (n, K) true means


def play(random: np.random.Generator) -> Run:
    """A log of the world."""
    plan, learner = random.integers(0, 2, UNITS), random.random(UNITS) < LEARNER
    total, weight = np.full((2, 4), 0.5), np.ones((2, 4))
    rows: list[LoggedRow] = []
    free, predictions = [], []
    for batch in range(BATCHES):
        means = total / weight
        for _ in range(BATCH):
            unit = int(random.integers(UNITS))
            own = np.full(4, FLOOR / 4)
            own[int(np.argmax(means[plan[unit]]))] += 1 - FLOOR
            own = np.full(4, 0.25) if batch == 0 else own
            chances = own if learner[unit] else np.full(4, 0.25)
            chosen = int(random.choice(4, p=chances))
            reward = float(random.random() < MEANS[plan[unit], chosen])
            total[plan[unit], chosen] += reward
            weight[plan[unit], chosen] += 1
            arm = "learner" if learner[unit] else "uniform"
            rows.append(_row(len(rows), f"u{unit}", arm, plan[unit], (chances, chosen, reward)))
            free.append(own)
            predictions.append(means[plan[unit]])
    table = _table(rows, np.array(free))
    late = table.take(np.arange(BATCH, len(rows)))
    sample = Sample(late, np.array(predictions)[BATCH:], (0.0, 1.0), 0.05)
    return Run(sample, late.arms["learner"], MEANS[[int(str(row.context["plan"])) for row in late.rows]])


def _row(index: int, unit: str, arm: str, plan: int, drawn: tuple[Floats, int, float]) -> LoggedRow:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=index)
    chances, chosen, reward = drawn
    propensity, plan_name = float(chances[chosen]), {"plan": str(plan)}
    return LoggedRow(
        f"d{index}", arm, unit, 1, 1, None, ACTIONS, chances.tolist(), chosen, propensity, dict(plan_name), reward, at
    )


def _table(rows: list[LoggedRow], free: Floats) -> LogTable:
    count = len(rows)
    arms = {"learner": free, "uniform": np.full((count, 4), 0.25)}
    share = np.tile([LEARNER, 1 - LEARNER], (count, 1))
    ones, order = np.ones(count, dtype=np.int64), np.arange(count)
    unit = np.unique([row.unit_id for row in rows], return_inverse=True)[1].astype(np.int64)
    return LogTable(
        rows,
        [encode_context(row.context) for row in rows],
        [LINES] * count,
        [[]] * count,
        np.array([row.chosen for row in rows]),
        arms,
        share,
        mixed(arms, share),
        np.array([row.reward for row in rows]),
        unit,
        order,
        ones,
    )


def covered(runs: int, seed: int) -> dict[float, list[bool]]:
    """By bound, in each run that has an interval, whether that of the predicted cost holds the true cost."""
    policy = parse_policy({"type": "bandit"})
    assert isinstance(policy, BanditPolicy)
    question = PriceQuestion(arm="learner", by="supplier", values=BOUNDS)
    target = Target("learner", "as it ran", "as_it_ran", policy, arm="learner")
    hits: dict[float, list[bool]] = {bound: [] for bound in BOUNDS}
    for run in range(runs):
        world = play(np.random.default_rng([seed, run]))
        for point in along(world.sample, target, world.free, question).points[1:]:
            assert point.bound is not None
            if point.cost_interval is None or point.cost_interval.low is None or point.cost_interval.high is None:
                continue
            moved = within(world.sample.late, world.free, Exposure("supplier", point.bound))
            cost = float(((world.free - moved) * world.truth).sum(axis=1).mean())
            hits[point.bound].append(point.cost_interval.low - 1e-12 <= cost <= point.cost_interval.high + 1e-12)
    return hits


def drift(seed: int) -> float:
    """How far below 5% the smallest group of any decision is under a floor of 5%."""
    world = play(np.random.default_rng(seed))
    moved = within(world.sample.late, world.free, Exposure("supplier", 0.05))
    groups = np.array(groups_of(LINES, "supplier"))
    shares = np.stack([moved[:, groups == group].sum(axis=1) for group in (0, 1)])
    return max(0.0, 0.05 - float(shares.min()))


def main() -> None:
    """Print the table of docs/policies.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prices", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=200)
    runs = parser.parse_args().runs
    hits = covered(runs, 1)
    for bound, each in hits.items():
        print(
            f"at least {bound:.0%}: covered in {sum(each)} of {len(each)} runs; {runs - len(each)} refused an interval"
        )
    print(f"drift of a floor of 5%: {drift(2):.1e}")


if __name__ == "__main__":
    main()
