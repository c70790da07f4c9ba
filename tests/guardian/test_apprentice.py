"""The guardian looks at what an apprentice shows, and compares what it learned with its fallback only once that decides."""

import pytest

from app.design.experiment_config import ExperimentConfig
from app.design.experiments import get
from app.foundation.errors import Conflict
from app.foundation.store.engine import transaction
from app.guardian import dry_run, incidents, watching
from app.off_policy.life import apprentice
from app.off_policy.life.apprentice_documents import SwitchRequest
from tests.guardian.world import World
from tests.lab import Lab
from tests.service import query

TRUSTS_THE_FIRST = {"fallback": {"to": {"type": "first_action"}}}


def _seen(lab: Lab, key: str) -> dict[str, int]:
    """By stream, the observations of the learning arm's watches."""
    experiment = get(lab.runtime.engine, key)
    with transaction(lab.runtime.engine) as connection:
        watched = watching.stored(connection, experiment.id)
    return {watch.stream: watch.state.seen for watch in watched.watches if watch.arm == "learned"}


def test_what_was_shown_as_an_apprentice_is_not_held_for_what_it_learned(lab: Lab) -> None:
    world = World(lab, "watched-apprentice", 3, learned={"apprentice": True})
    world.turn(4)
    assert set(_seen(lab, world.key)) == {"value", "rewarded", "once"}
    with pytest.raises(Conflict) as caught:
        dry_run.try_rule(lab.runtime.engine, world.key, "learned")
    assert caught.value.code == "apprentice_decides"
    with pytest.raises(Conflict) as caught:
        incidents.fall_back(lab.runtime.engine, world.key, "learned", "no", "ann")
    assert caught.value.code == "apprentice_decides"
    # Decided as an apprentice, and looked at after the switch.
    lab.play(world.key, world.bodies(100), lambda body, answer: world.reward(body["context"]["mood"], answer))
    request = SwitchRequest(arm="learned", apprentice=False, reason="it is time")
    apprentice.switch(lab.runtime.engine, world.key, request, "test")
    lab.runtime.snapshots.refresh()
    assert watching.look(lab.runtime.engine, world.key)
    assert _seen(lab, world.key).get("fallback", 0) == 0
    world.turn(2)
    switched = "SELECT count(*) FROM decisions WHERE experiment_id = %s AND config_version = 2"
    ((decided,),) = query(lab.database_url, switched, get(lab.runtime.engine, world.key).id)
    assert 0 < _seen(lab, world.key)["fallback"] <= decided
    assert lab.audit(world.key).ok


def test_an_arm_falls_back_to_the_first_action_of_each_call(lab: Lab) -> None:
    world = World(lab, "falls-to-first", 4, learned=TRUSTS_THE_FIRST)
    world.turn(1)
    incidents.fall_back(lab.runtime.engine, world.key, "learned", "a person says so", "ann")
    lab.runtime.snapshots.refresh()
    answers = lab.decide(world.key, [{**body, "unit_id": f"fallen-{n}"} for n, body in enumerate(world.bodies(60))])
    learned = [one for one in answers if one["arm"] == "learned"]
    chances = {one["ranking"][0]["id"]: one["propensity"] for one in learned if one["action"]["id"] == "a"}
    assert chances and all(chance > 0.95 for chance in chances.values())  # but for the probe of 5%
    config = ExperimentConfig.model_validate(get(lab.runtime.engine, world.key).config)
    assert next(arm for arm in config.arms if arm.key == "learned").fallen_back
    lab.play(world.key, world.bodies(60), lambda body, answer: world.reward(body["context"]["mood"], answer))
    assert watching.look(lab.runtime.engine, world.key) and _seen(lab, world.key)["fallback"] > 0
    assert lab.audit(world.key).ok
