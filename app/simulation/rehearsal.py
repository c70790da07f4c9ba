"""Rehearses an experiment that does not run yet: makes a world of its definition, and plays it with the hoped effect and without.

What a definition does not tell is assumed, and listed: the level and the spread of every metric but the one that decides.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import MetricSpec
from app.foundation.fields import JsonObject
from app.simulation.claims import Watched, watch
from app.simulation.course import course_of
from app.simulation.player import Look, play
from app.simulation.report import Simulation
from app.simulation.simulate import answer
from app.simulation.world import Kind, World
from app.simulation.world_files import parsed

UNITS = 5000  # for which intervals are narrowest unless the definition says otherwise
MAX_UNITS = 200_000
MAX_METRICS = 10
MAX_RUNS = 200
LOOKS, FEWEST_LOOKS, COMPARISONS = 20, 4, 400  # comparisons of one run, over all looks
SEED = 1
# By type of source: kind, level and spread that are assumed of metrics that nothing is said about.
_ASSUMED: Final[dict[str, tuple[Kind, float, float]]] = {
    "reward": ("binary", 0.1, 1.0),
    "value": ("normal", 1.0, 1.0),
    "count": ("count", 1.0, 1.0),
    "retention": ("binary", 0.3, 1.0),
    "sessions": ("count", 2.0, 1.0),
    "event": ("binary", 0.1, 1.0),
}


class Expected(NamedTuple):
    """What somebody expects of the metric that decides."""

    kind: Kind
    level: float  # of the control
    spread: float  # standard deviation between units, of a normal
    effect: float  # relative to the level, positive: better


class Played(NamedTuple):
    """How the runs of one world ended."""

    ends: Counter[tuple[str, str]]  # runs by the first verdict and its arm; empty texts: no verdict
    units: list[int]  # that had come at the first verdict, in order
    simulation: Simulation


class Rehearsal(NamedTuple):
    """A world, played with its effects and without."""

    world: World
    gaining: list[str]  # the arms that have the effect
    hoped: Played
    null: Played


def world_of(config: ExperimentConfig, expected: Expected) -> World:
    """The world of a definition, as a file would describe it.

    :raises WorldRefused: the expectation is not possible, such as a rate above 100%.
    """
    declared = config.all_metrics()
    deciding = next(metric for metric in declared if metric.role == "primary")
    gain = expected.level * expected.effect * (1 if deciding.direction == "increase" else -1)
    others = [metric for metric in declared if metric is not deciding and metric.source.type in _ASSUMED]
    truth = _truth(deciding, expected.kind, expected.level, expected.spread)
    metrics = [truth | {"effects": dict.fromkeys(gaining(config), gain)}]
    metrics += [_truth(metric, *_ASSUMED[metric.source.type]) for metric in others[: MAX_METRICS - 1]]
    rule = config.decision_rule
    looks = COMPARISONS // max(1, (len(config.arms) - 1) * len(metrics))
    document = {
        "about": f"A rehearsal of {config.key}."[:500],
        "control": config.control.key,
        "looks": min(LOOKS, max(FEWEST_LOOKS, looks)),
        "rule": {"alpha": rule.alpha, "min_units": rule.min_units, "planned_units": rule.planned_units},
        "stretches": [{"units": units_of(config), "shares": {arm.key: arm.share for arm in config.arms}}],
        "metrics": metrics,
    }
    return parsed(document, "the draft")


def units_of(config: ExperimentConfig) -> int:
    """The units of a rehearsal."""
    return min(config.decision_rule.planned_units or UNITS, MAX_UNITS)


def left_out(config: ExperimentConfig, world: World) -> list[str]:
    """Metrics of the definition that its world does not have."""
    played = {metric.key for metric in world.metrics}
    return [metric.key for metric in config.all_metrics() if metric.key not in played]


def gaining(config: ExperimentConfig) -> list[str]:
    """The arms that are hoped to be better: those that learn, or else all that decide otherwise than the control."""
    others = [arm for arm in config.arms if arm.key != config.control.key]
    learning = [arm.key for arm in others if arm.policy.get("type") == "bandit"]
    return learning or [arm.key for arm in others if arm.policy != config.control.policy]


def rehearse(config: ExperimentConfig, expected: Expected, seconds: float) -> Rehearsal:
    """Play the world of a definition for some seconds, half of them without the effect; at least one run of each.

    :raises WorldRefused: as ``world_of``.
    """
    world = world_of(config, expected)
    without = [metric.model_copy(update={"effects": {}}) for metric in world.metrics]
    null = world.model_copy(update={"metrics": without})
    return Rehearsal(world, gaining(config), _played(world, seconds / 2), _played(null, seconds / 2))


def _truth(metric: MetricSpec, kind: Kind, level: float, spread: float) -> JsonObject:
    shared = ("key", "role", "direction", "min_effect")
    of_source = {"per": getattr(metric.source, "per", "unit")}
    return (
        {name: getattr(metric, name) for name in shared} | of_source | {"kind": kind, "level": level, "spread": spread}
    )


def _played(world: World, seconds: float) -> Played:
    watched: list[Watched] = []
    ends: Counter[tuple[str, str]] = Counter()
    units: list[int] = []
    for run in _runs(world, seconds):
        watched.append(watch(world, run))
        first = next((look for look in run if _verdict(look)[0]), None)
        ends[_verdict(first) if first else ("", "")] += 1
        if first is not None:
            units.append(first.results.window.units)
    return Played(ends, sorted(units), answer(world, watched, name="rehearsal", seed=SEED))


def _runs(world: World, seconds: float) -> Iterator[list[Look]]:
    course, end = course_of(world), time.monotonic() + seconds
    for sequence in np.random.SeedSequence(SEED).spawn(MAX_RUNS):
        yield list(play(course, np.random.default_rng(sequence)))
        if time.monotonic() > end:
            return


def _verdict(look: Look) -> tuple[str, str]:
    decision = look.results.decision
    assert decision is not None, "the player judges every look"
    return ("", "") if decision.verdict == "keep_running" else (decision.verdict, decision.arm or "")
