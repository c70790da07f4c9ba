"""Small worlds through the real services: the same claims, from the stored results and the health checks."""

import hashlib
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from app.reporting import results
from app.reporting.pages import results as results_page
from app.simulation.claims import Watched, watch
from app.simulation.live import MAX_UNITS, Stack, check, play_live
from app.simulation.world import World
from app.simulation.world_files import WorldRefused, load, parsed
from tests.lab import Lab


def world(**changes: Any) -> World:
    small: dict[str, Any] = {
        "looks": 2,
        "stretches": [{"units": 1200, "shares": {"control": 0.5, "treated": 0.5}}],
        "metrics": [{"key": "converted", "level": 0.2}],
    }
    return parsed(small | changes, "small")


def played(lab: Lab, name: str, given: World, seed: int = 1) -> Watched:
    salt = hashlib.sha256(name.encode()).digest()
    stack = Stack(lab.runtime, 600.0, lab.close_windows)
    with patch("app.design.experiments.secrets.token_bytes", lambda _: salt):
        return watch(given, play_live(stack, given, name, np.random.default_rng(seed), key=name))


def wrong(run: Watched) -> list[str]:
    return [claim for (claim, _, _), right in run.right.items() if not right]


def test_a_ramp_over_a_moving_base_rate(lab: Lab) -> None:
    shares = {"control": 0.9, "treated": 0.1}
    stretches = [
        {"units": 1200, "shares": shares},
        {"units": 1200, "shares": {"control": 0.5, "treated": 0.5}, "factor": 4.0},
    ]
    run = played(lab, "live-ramp", world(stretches=stretches, metrics=[{"key": "converted", "level": 0.1}]))
    assert wrong(run) == []
    assert experiments.get(lab.runtime.engine, "live-ramp").status == "concluded"


def test_a_real_effect_with_lost_and_late_rewards_on_several_metrics(lab: Lab) -> None:
    metrics = [
        {"key": "converted", "level": 0.3, "effects": {"treated": 0.25}},
        {"key": "revenue", "kind": "payers", "level": 2.0, "payers": 0.3, "spread": 1.0, "role": "secondary"},
    ]
    lost = {"rewards": {"control": 0.1, "treated": 0.1}, "late_rewards": 0.1}
    run = played(lab, "live-effect", world(metrics=metrics, lost=lost))
    assert wrong(run) == [] and run.right["decides", "", ""]
    assert {metric for _, metric, _ in run.right if metric} == {"converted", "revenue"}


def test_a_bot_among_returning_units_is_named(lab: Lab) -> None:
    visits, bots = {"kind": "poisson", "mean": 1.5}, {"units": 1, "decisions": 600}
    metrics = [{"key": "converted", "level": 0.2, "per": "unit"}]
    run = played(lab, "live-bot", world(visits=visits, bots=bots, metrics=metrics))
    assert wrong(run) == [] and run.right["heavy_alarms", "", ""]


def test_arms_that_learn_from_noise_raise_no_alert(lab: Lab) -> None:
    learning = {"arms": ["treated"], "actions": {"a": 0.0, "b": 0.0, "c": 0.0}}
    run = played(lab, "live-noise", world(learning=learning))
    assert wrong(run) == [] and run.right["choices_quiet", "", ""]


def test_an_action_that_comes_later_is_offered_from_its_stretch_on(lab: Lab) -> None:
    shares = {"control": 0.5, "treated": 0.5}
    learning = {"arms": ["treated"], "actions": {"a": 0.0, "b": 0.0, "c": 0.0}, "since": {"c": 2}}
    run = played(lab, "live-new", world(learning=learning, stretches=[{"units": 600, "shares": shares}] * 2))
    assert wrong(run) == [] and run.right["choices_quiet", "", ""]
    stored = experiments.get(lab.runtime.engine, "live-new")
    assert stored.config_version == 2
    assert [action.id for action in ExperimentConfig.model_validate(stored.config).actions] == ["a", "b", "c"]


def test_exposures_that_are_lost_raise_the_alert(lab: Lab) -> None:
    run = played(lab, "live-lost", world(lost={"exposures": {"treated": 0.5}}, looks=1))
    assert wrong(run) == [] and run.right["ratio_alarms", "", ""]


@pytest.mark.parametrize("name", ["holdout", "learning"])
def test_worlds_that_cannot_be_played_live_are_refused_in_words(name: str) -> None:
    with pytest.raises(WorldRefused, match=f"give at most {MAX_UNITS}|cannot lose choices"):
        check(load(name))


def test_lineages_have_a_line_of_their_own(lab: Lab) -> None:
    shares = {"control": 0.4, "one": 0.3, "two": 0.3}
    learning = {"arms": ["one", "two"], "lineage_of": "learner", "actions": {"a": 0.0, "b": 0.0}}
    run = played(lab, "live-lineages", world(learning=learning, stretches=[{"units": 1200, "shares": shares}]))
    assert wrong(run) == []
    answer = run.lineages["converted", "learner"]
    assert answer.truth == 0.0 and answer.interval.low is not None and answer.interval.high is not None
    assert answer.interval.low < answer.interval.high
    shown = results_page.metrics(results.get(lab.runtime.engine, "live-lineages"), "sequential")[0].notes[0]
    assert shown.startswith("learner, as a way of learning: ") and "2 lineages (one, two)" in shown
