"""Rehearsals: what a definition says stands in its world, and a plan's units find the effect as often as planned."""

from typing import Any

import pytest

from app.design.experiment_config import ExperimentConfig
from app.simulation import rehearsal
from app.simulation.rehearsal import Expected, gaining, rehearse, world_of
from app.simulation.world_files import WorldRefused, parsed

RATE = Expected("binary", 0.2, 1.0, 0.25)


def config(**changes: Any) -> ExperimentConfig:
    document: dict[str, Any] = {
        "key": "tips",
        "actions": [{"id": "a"}, {"id": "b"}],
        "arms": [
            {"key": "base", "share": 0.4, "policy": {"type": "fixed", "action": "a"}},
            {"key": "learned", "share": 0.4, "policy": {"type": "bandit", "algorithm": "squarecb"}},
            {"key": "even", "share": 0.2, "policy": {"type": "uniform"}},
        ],
        "control_arm": "base",
        "decision_rule": {"planned_units": 6000, "alpha": 0.1, "min_units": 50},
    }
    return ExperimentConfig.model_validate(document | changes)


def test_a_world_says_what_the_definition_and_the_expectation_say() -> None:
    world = world_of(config(), RATE)
    assert world.control == "base" and world.units == 6000 and not world.is_null
    assert world.stretches[0].shares == {"base": 0.4, "learned": 0.4, "even": 0.2}
    assert (world.rule.alpha, world.rule.min_units, world.rule.planned_units) == (0.1, 50, 6000)
    (metric,) = world.metrics
    assert (metric.key, metric.kind, metric.level, metric.effects) == ("reward", "binary", 0.2, {"learned": 0.05})
    assert parsed(world.model_dump(mode="json", exclude_defaults=True), "file") == world, "the file is the same world"


def test_what_gains_is_what_learns_or_else_what_differs_from_the_control() -> None:
    fixed = [{"key": key, "share": 0.25, "policy": {"type": "fixed", "action": action}} for key, action in PAIRS]
    assert gaining(config()) == ["learned"]
    assert gaining(config(arms=fixed)) == ["other", "third"], "a holdout gets what the control gets"


PAIRS = (("base", "a"), ("other", "b"), ("third", "b"), ("holdout", "a"))


def test_a_metric_that_should_fall_gets_a_lower_level_and_others_are_assumed_alike() -> None:
    metrics = [
        {"key": "latency", "source": {"type": "value", "metric": "ms"}, "role": "primary", "direction": "decrease"},
        {
            "key": "views",
            "source": {"type": "count", "metric": "view", "per": "unit"},
            "role": "guardrail",
            "min_effect": 0.2,
        },
        {"key": "slow", "source": {"type": "quantile", "metric": "ms", "quantile": 0.9}},
    ]
    given = config(metrics=metrics)
    world = world_of(given, Expected("normal", 100.0, 30.0, 0.1))
    assert [metric.key for metric in world.metrics] == ["latency", "reward", "views"]
    assert world.metrics[0].effects == {"learned": -10.0} and world.metrics[0].spread == 30.0
    assert world.metrics[2].role == "guardrail" and world.metrics[2].per == "unit" and not world.metrics[2].effects
    assert rehearsal.left_out(given, world) == ["slow"]


def test_an_expectation_that_cannot_be_is_refused() -> None:
    with pytest.raises(WorldRefused, match="chances of this metric go from"):
        world_of(config(), Expected("binary", 0.9, 1.0, 0.5))


def test_a_large_effect_is_found_and_none_is_found_where_there_is_none() -> None:
    played = rehearse(config(), RATE, seconds=2.0)
    hoped, null = played.hoped, played.null
    assert hoped.ends["ship", "learned"] >= 0.8 * hoped.simulation.runs
    assert sum(null.ends.values()) == null.simulation.runs and null.ends["", ""] >= 0.8 * null.simulation.runs
    assert len(hoped.units) == hoped.simulation.runs - hoped.ends["", ""] and hoped.units == sorted(hoped.units)


def test_at_least_one_run_is_played_and_large_plans_are_cut() -> None:
    large = config(decision_rule={"planned_units": 5_000_000})
    assert rehearsal.units_of(large) == rehearsal.MAX_UNITS
    played = rehearse(config(), RATE, seconds=0.0)
    assert (played.hoped.simulation.runs, played.null.simulation.runs) == (1, 1)


def test_many_arms_are_looked_at_less_often() -> None:
    policy = {"type": "uniform"}
    arms = [{"key": f"arm{index}", "share": 0.02, "policy": policy} for index in range(50)]
    assert world_of(config(arms=arms, control_arm="arm0"), RATE).looks == 8
    assert world_of(config(), RATE).looks == rehearsal.LOOKS
