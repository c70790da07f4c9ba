"""A world as an experiment goes through it: its looks, its stretches, and its configuration in each of them."""

from typing import NamedTuple

import numpy as np

from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import JsonObject
from app.reporting.comparison.stretches import Stretch
from app.simulation.world import MetricTruth, World
from experiments.validation import IntArray


class Course(NamedTuple):
    """What all runs of a world have in common. Times are counted in units that came."""

    world: World
    arms: list[str]
    begins: IntArray  # of each stretch
    ends: IntArray  # of each look, excluded; every stretch ends with a look
    stretch_of_look: IntArray
    stretches: list[Stretch]
    configs: list[ExperimentConfig]  # by stretch


def course_of(world: World) -> Course:
    """The course of a world. The looks that it names are equally many units apart."""
    sizes = np.array([stretch.units for stretch in world.stretches])
    borders = np.cumsum(sizes)
    regular = np.round(np.arange(1, world.looks + 1) * world.units / world.looks).astype(np.int64)
    ends = np.unique(np.concatenate([regular[regular > 0], borders]))
    return Course(
        world,
        world.arms,
        borders - sizes,
        ends,
        np.searchsorted(borders, ends, side="left"),
        [
            Stretch(index + 1, {arm: share for arm, share in stretch.shares.items() if share > 0})
            for index, stretch in enumerate(world.stretches)
        ],
        [ExperimentConfig.model_validate(definition(world, index)) for index in range(len(world.stretches))],
    )


def definition(world: World, index: int, key: str = "simulated", window_s: float = 600.0) -> JsonObject:
    """The definition of the experiment in one stretch, as the API takes it."""
    stretch = world.stretches[index]
    return {
        "key": key,
        "name": "Simulated",
        "hypothesis": world.about,
        "actions": [{"id": action, "features": {}} for action in offered(world, index)],
        "arms": [_arm(world, arm, share) for arm, share in stretch.shares.items()],
        "control_arm": world.control,
        "reward": {"window_s": window_s},
        "metrics": [_metric(world, metric) for metric in world.metrics],
        "decision_rule": world.rule.model_dump(exclude_none=True) | {"min_days": 0.0},  # a world has units, not days
    }


def offered(world: World, index: int) -> list[str]:
    """The actions of one stretch."""
    return [action for action in world.actions if world.learning.since.get(action, 1) <= index + 1]


def _arm(world: World, arm: str, share: float) -> JsonObject:
    document: JsonObject = {"key": arm, "share": share, "policy": policy(world, arm)}
    name = world.learning.lineage_of if arm in world.learning.arms else None
    return document if name is None else document | {"lineage_of": name}


def policy(world: World, arm: str) -> JsonObject:
    """How an arm chooses."""
    if arm not in world.learning.arms:
        return {"type": "fixed", "action": world.actions[0]}
    floor = world.learning.floor
    return {"type": "bandit", "algorithm": "epsilon_greedy", "parameters": {"bits": 12}, "exploration_floor": floor}


def is_reward(world: World, metric: MetricTruth) -> bool:
    """True when the metric is the reward itself: the first one where it has the reward's range."""
    return metric is world.metrics[0] and metric.kind == "binary"


def _metric(world: World, metric: MetricTruth) -> JsonObject:
    source: JsonObject = {"type": "value", "metric": metric.key, "per": metric.per}
    if is_reward(world, metric):
        source = {"type": "reward", "per": metric.per}
    shared = ("key", "role", "direction", "min_effect")
    return {name: getattr(metric, name) for name in shared} | {"source": source}
