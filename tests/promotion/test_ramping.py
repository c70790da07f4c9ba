"""Ramps: steps behind a gate that holds at every look; an arm that is worse goes back, one that is alike is not shipped."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.design import experiments, interventions
from app.foundation.errors import Conflict, Unprocessable
from app.foundation.store.engine import transaction
from app.promotion import ramping, shipping
from app.promotion.ramping import RampRequest
from app.reporting import results
from tests.lab import Lab, arm
from tests.service import Client

TWO = [arm("control", 0.5, "a"), arm("treated", 0.5, "b")]


def begin(lab: Lab, key: str, **request: Any) -> None:
    # Units are assigned by a random salt, so a test may meet a false alarm: once in a thousand runs.
    rule = {"min_units": 100, "min_days": 0, "alpha": 0.001}
    lab.make(key, arms=TWO, control_arm="control", decision_rule=rule)
    ramping.begin(lab.runtime.engine, key, RampRequest(arm="treated", min_hours=0, reason="a try", **request), "ann")
    lab.runtime.snapshots.refresh()


def shares(lab: Lab, key: str) -> dict[str, float]:
    return {each["key"]: each["share"] for each in experiments.get(lab.runtime.engine, key).config["arms"]}


def batches(lab: Lab, key: str, rates: dict[str, float], seed: int) -> Iterator[dict[str, Any]]:
    """Play batch by batch, with a look and the worker's step after each; gives the configuration then."""
    rng = np.random.default_rng(seed)
    for number in range(20):
        bodies = [{"unit_id": f"{number}-{n}"} for n in range(1000)]
        lab.play(key, bodies, lambda _, answer: float(rng.random() < rates[answer["arm"]]))
        results.compute(lab.runtime.engine, key)
        assert key in [*ramping.advance_due(lab.runtime.engine), key]
        lab.runtime.snapshots.refresh()
        yield experiments.get(lab.runtime.engine, key).config


def test_an_arm_that_is_better_goes_up_step_by_step_and_is_shipped(lab: Lab) -> None:
    begin(lab, "better", holdout=0.1)
    assert shares(lab, "better") == {"control": 0.95, "treated": 0.05}
    seen = [
        (config["arms"][1]["share"], (config.get("shipped") or {}).get("arm"))
        for config in batches(lab, "better", {"control": 0.2, "treated": 0.4}, 2)
    ]
    assert sorted(dict.fromkeys(share for share, _ in seen)) == [0.05, 0.25, 0.5, 0.9]
    assert seen[-1] == (0.9, "treated")
    kept = experiments.get(lab.runtime.engine, "better").config["shipped"]
    assert kept["verdict"] == "ship" and kept["before"] == {"control": 0.5, "treated": 0.5}
    shipping.roll_back(lab.runtime.engine, "better", "enough", "ann")
    assert shares(lab, "better") == {"control": 0.5, "treated": 0.5}


def test_an_arm_that_is_worse_goes_back_by_itself(lab: Lab) -> None:
    begin(lab, "worse")
    for config in batches(lab, "worse", {"control": 0.4, "treated": 0.2}, 3):
        assert config.get("shipped") is None
        if config.get("ramp") is None:
            break
    assert config.get("ramp") is None and shares(lab, "worse") == {"control": 0.5, "treated": 0.5}


def test_an_arm_that_is_alike_waits_before_the_last_step(lab: Lab) -> None:
    begin(lab, "alike")
    *_, config = batches(lab, "alike", {"control": 0.3, "treated": 0.3}, 4)
    assert config["ramp"]["step"] == 2 and config.get("shipped") is None
    gate = ramping.gate(lab.runtime.engine, "alike")
    assert gate is not None and (gate.says, gate.share, gate.next_share) == ("wait", 0.5, 1.0)
    assert gate.reasons[0].startswith("The last step waits until the rule says that treated ships.")
    ramping.advance(lab.runtime.engine, "alike", "no harm, simpler code", "ann")
    assert shares(lab, "alike") == {"control": 0.0, "treated": 1.0}


def test_a_step_waits_for_its_hours_its_decisions_and_its_units(lab: Lab) -> None:
    lab.make("waits", arms=TWO, control_arm="control")
    engine = lab.runtime.engine
    ramping.begin(engine, "waits", RampRequest(arm="treated", reason="a try"), "ann")
    gate = ramping.gate(engine, "waits")
    assert gate is not None and gate.says == "wait" and ramping.advance_due(engine)
    assert gate.reasons == [
        "This step began 0.0 hours ago and lasts at least 24.",
        "No decision of this step has settled yet.",
    ]
    assert shares(lab, "waits") == {"control": 0.95, "treated": 0.05}


def test_a_ramp_by_hand_is_left_to_people(lab: Lab) -> None:
    begin(lab, "hand", automatic=False)
    assert "hand" not in ramping.advance_due(lab.runtime.engine)
    with pytest.raises(Conflict, match="ramping or shipped already"):
        ramping.begin(lab.runtime.engine, "hand", RampRequest(arm="treated", reason="twice"), "ann")
    ramping.advance(lab.runtime.engine, "hand", "looks fine", "ann")
    assert shares(lab, "hand") == {"control": 0.75, "treated": 0.25}


@pytest.mark.parametrize("steps", [[0.5, 0.2], [0.0, 1.0], [0.5, 0.5], [1.2]])
def test_steps_that_do_not_grow_are_refused(lab: Lab, steps: list[float]) -> None:
    key = "-".join(["steps", *map(str, steps)])
    lab.make(key, arms=TWO, control_arm="control")
    with pytest.raises(Unprocessable, match="growing shares"):
        ramping.begin(lab.runtime.engine, key, RampRequest(arm="treated", steps=steps, reason="x"), "ann")


def test_the_routes_of_a_ramp(client: Client) -> None:
    client.make("routes", arms=TWO, control_arm="control")
    path = "/v1/experiments/routes"
    assert client.get(f"{path}/ramp").body["code"] == "no_ramp"
    assert client.post(f"{path}/ramp/advance", {"reason": "x"}).body["code"] == "nothing_promoted"
    begun = client.post(f"{path}/ramp", {"arm": "treated", "reason": "a try", "steps": [0.1]})
    assert begun.status == 200 and begun.body["ramp"]["steps"] == [0.1, 1.0]
    gate = client.get(f"{path}/ramp")
    assert (gate.status, gate.body["says"], gate.body["next_share"]) == (200, "wait", 1.0)
    assert client.post(f"{path}/ramp/advance", {"reason": "x"}).body["shipped"]["arm"] == "treated"


def test_an_arm_that_a_guardrail_stops_is_not_on_its_way_any_more(lab: Lab) -> None:
    begin(lab, "stopped")
    with transaction(lab.runtime.engine) as connection:
        interventions.stop_arm(connection, "stopped", "treated", actor="worker", reason="a guardrail")
    assert experiments.get(lab.runtime.engine, "stopped").config.get("ramp") is None
    assert shares(lab, "stopped") == {"control": 1.0, "treated": 0.0}
