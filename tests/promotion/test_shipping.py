"""Ship an arm, go back, conclude with an answer for callers: no call is refused on the way, and the audit stays clean."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.foundation.errors import Unprocessable
from app.promotion import shipping
from app.reporting import frozen, results
from tests.lab import Lab, arm
from tests.service import Client, query, wait_for

ARMS = [arm("control", 0.5, "a"), arm("treated", 0.3, "b"), arm("third", 0.2)]


def shipped(client: Client, key: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/experiments/{key}/ship", {"arm": "treated", "reason": "it is better", **body})
    assert answer.status == 200, answer.raw
    return dict(answer.body)


def shares(document: dict[str, Any]) -> dict[str, float]:
    return {each["key"]: each["share"] for each in document["arms"]}


def arms_of(client: Client, key: str, units: int = 200) -> Counter[str]:
    bodies = [{"experiment": key, "unit_id": f"u{number}"} for number in range(units)]
    answers = client.post("/v1/decide/batch", {"decisions": bodies}).body["decisions"]
    return Counter(answer["arm"] for answer in answers)


def test_a_shipped_arm_decides_for_everybody_but_the_holdout_and_the_way_back_is_one_call(client: Client) -> None:
    client.make("ship", arms=ARMS, control_arm="control")
    before = arms_of(client, "ship")
    document = shipped(client, "ship", holdout=0.1)
    assert shares(document) == {"control": 0.1, "treated": 0.9, "third": 0.0}
    kept = document["shipped"]
    assert (kept["arm"], kept["holdout"], kept["reason"], kept["verdict"]) == ("treated", 0.1, "it is better", None)
    assert kept["before"] == {"control": 0.5, "treated": 0.3, "third": 0.2}
    after = arms_of(client, "ship")
    assert set(after) == {"control", "treated"} and 5 <= after["control"] <= 40
    again = shipped(client, "ship", arm="third")
    assert shares(again) == {"control": 0.0, "treated": 0.0, "third": 1.0}
    back = client.post("/v1/experiments/ship/roll-back", {"reason": "complaints"}).body
    assert shares(back) == {"control": 0.5, "treated": 0.3, "third": 0.2} and "shipped" not in back
    assert arms_of(client, "ship") == before  # every unit is in its arm again
    assert client.post("/v1/experiments/ship/roll-back", {"reason": "x"}).body["code"] == "nothing_promoted"


def test_a_holdout_that_keeps_nobody_is_refused(lab: Lab) -> None:
    lab.make("nobody", arms=ARMS, control_arm="control")
    lab.play("nobody", [{"unit_id": f"u{number}"} for number in range(60)], lambda *_: 1.0)
    results.compute(lab.runtime.engine, "nobody")
    request = shipping.ShipRequest(arm="treated", reason="it is better", holdout=0.01)
    with pytest.raises(Unprocessable) as refused:
        shipping.ship(lab.runtime.engine, "nobody", request, "ann")
    assert refused.value.fields[0].code == "holdout_of_no_unit" and "60 units" in refused.value.fields[0].message
    larger = request.model_copy(update={"holdout": 0.05})
    assert shipping.ship(lab.runtime.engine, "nobody", larger, "ann").config["shipped"]["holdout"] == 0.05


def test_what_is_shipped_is_not_steered_past_the_way_back(client: Client) -> None:
    client.make("steer", arms=ARMS, control_arm="control")
    shipped(client, "steer")
    answer = client.patch("/v1/experiments/steer", {"arms": ARMS})
    assert answer.status == 409 and answer.body["errors"][0]["code"] == "shares_promoted"
    renamed = client.patch("/v1/experiments/steer", {"name": "New name"})
    assert renamed.status == 200 and renamed.body["shipped"]["arm"] == "treated"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"arm": "nobody", "reason": "x"}, 404, "unknown_arm"),
        ({"arm": "control", "reason": "x", "holdout": 0.1}, 422, "holdout_of_control"),
        ({"arm": "treated", "reason": "x", "holdout": 0.9}, 422, "too_large"),
        ({"arm": "treated", "reason": ""}, 422, "empty"),
        ({"arm": "treated"}, 422, "missing"),
    ],
)
def test_what_cannot_be_shipped_is_refused_in_words(client: Client, body: Any, status: int, code: str) -> None:
    if client.get("/v1/experiments/refused").status == 404:
        client.make("refused", arms=ARMS, control_arm="control")
    answer = client.post("/v1/experiments/refused/ship", body)
    found = answer.body["errors"][0]["code"] if answer.status == 422 else answer.body["code"]
    assert (answer.status, found) == (status, code)


def test_a_caller_cannot_write_down_that_something_is_shipped(client: Client) -> None:
    client.make("forged", arms=ARMS, control_arm="control", start=False)
    document = client.get("/v1/experiments/forged").body
    kept = {"arm": "treated", "holdout": 0, "at": "2026-01-01T00:00:00Z", "by": "me", "reason": "x", "before": {}}
    names = ("name", "hypothesis", "actions", "arms", "control_arm", "reward")
    made = client.post(
        "/v1/experiments", {"key": "forged2", "shipped": kept} | {name: document[name] for name in names}
    )
    assert made.status == 201 and "shipped" not in made.body


def test_a_draft_is_not_shipped_and_a_paused_experiment_runs_again(client: Client) -> None:
    client.make("drafted", arms=ARMS, start=False)
    assert client.post("/v1/experiments/drafted/ship", {"arm": "treated", "reason": "x"}).body["code"] == "wrong_status"
    client.make("resumed", arms=ARMS)
    client.post("/v1/experiments/resumed/pause")
    assert shipped(client, "resumed")["status"] == "running"


def test_nobody_is_refused_from_candidate_through_ship_and_roll_back_to_conclude_and_archive(client: Client) -> None:
    """Decisions under load, on both fronts, through every step that steers."""
    client.make("load", arms=ARMS, control_arm="control")
    answered: list[tuple[int, str | None]] = []
    stop = threading.Event()

    def call(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            body = {"experiment": "load", "unit_id": f"{worker}-{number}"}
            answer = client.post("/v1/decide", body)
            answered.append((answer.status, answer.body.get("code")))

    threads = [threading.Thread(target=call, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    try:
        candidate = {"key": "always-c", "policy": {"type": "fixed", "action": "c"}}
        assert client.post("/v1/experiments/load/candidates", candidate).status == 201
        assert client.post("/v1/experiments/load/candidates/always-c/stage", {"share": 0.1}).status == 200
        assert client.post("/v1/experiments/load/challengers/always-c/back", {"reason": "back"}).status == 200
        for _ in range(5):
            shipped(client, "load", holdout=0.05)
            assert client.post("/v1/experiments/load/roll-back", {"reason": "back"}).status == 200
        ended = client.post("/v1/experiments/load/conclude", {"conclusion": "nothing helped", "callers": "control"})
        assert ended.body["shipped"]["arm"] == "control" and ended.body["shipped"]["until"] is None
        assert client.post("/v1/experiments/load/archive").body["code"] == "archive_running"  # it answers for ever
        seen = len(answered)
        wait_for(lambda: len(answered) > seen + 20, 20, "decisions after the end")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answered) == {(201, None)}
    assert set(arms_of(client, "load")) == {"control"}


def test_a_concluded_experiment_says_what_a_caller_can_do(client: Client) -> None:
    client.make("over", arms=ARMS)
    assert client.post("/v1/experiments/over/conclude", {"conclusion": "done"}).body["status"] == "concluded"
    answer = client.decide("over")
    assert (answer.status, answer.body["code"]) == (409, "not_running")
    assert "Show a default of your own" in answer.body["detail"] and "start it" not in answer.body["detail"]


@pytest.mark.parametrize(
    "body", [{"callers": "control", "error_from": "2999-01-01T00:00:00Z"}, {"error_from": "2020-01-01T00:00:00Z"}]
)
def test_an_end_that_cannot_be_is_refused(client: Client, body: dict[str, Any]) -> None:
    if client.get("/v1/experiments/ends").status == 404:
        client.make("ends", arms=ARMS)
    answer = client.post("/v1/experiments/ends/conclude", body)
    assert answer.status == 422 and answer.body["errors"][0]["path"] == "/error_from"


def test_the_control_decides_until_the_time_that_was_given_and_then_calls_are_refused(
    lab: Lab, database_url: str
) -> None:
    lab.make("until", arms=ARMS, control_arm="control")
    engine = lab.runtime.engine
    later = datetime.now(UTC) + timedelta(days=3)
    shipping.conclude(engine, "until", shipping.Ending(conclusion="moved away", error_from=later), "ann")
    lab.runtime.snapshots.refresh()
    assert {answer["arm"] for answer in lab.decide("until", [{"unit_id": f"u{n}"} for n in range(50)])} == {"control"}
    assert shipping.conclude_due(engine) == []
    query(
        database_url,
        "UPDATE experiment_configs c SET config = jsonb_set(c.config::jsonb, '{shipped,until}', '\"2026-01-01T00:00:00Z\"')::json"
        " FROM experiments e WHERE e.id = c.experiment_id AND e.key = 'until' AND c.version = e.config_version",
    )
    assert shipping.conclude_due(engine) == ["until"] and shipping.conclude_due(engine) == []
    assert query(database_url, "SELECT status, conclusion FROM experiments WHERE key = 'until'") == [
        ("concluded", "moved away")
    ]


def test_results_stay_as_they_were_when_the_arm_was_shipped(lab: Lab) -> None:
    lab.make(
        "kept", arms=[arm("control", 0.5, "a"), arm("treated", 0.5, "b")], control_arm="control", segments=["country"]
    )
    rng = np.random.default_rng(1)

    def play(rates: dict[str, float], first: int) -> None:
        bodies = [{"unit_id": f"u{first + n}", "context": {"country": "at"}} for n in range(1500)]
        lab.play("kept", bodies, lambda _, answer: float(rng.random() < rates[answer["arm"]]))

    play({"control": 0.2, "treated": 0.4}, 0)
    then, split = lab.results("kept"), lab.results("kept", segment="country")
    assert then["decision"]["verdict"] == "ship"
    engine = lab.runtime.engine
    request = shipping.ShipRequest(arm="treated", holdout=0.2, reason="better")
    document = shipping.ship(engine, "kept", request, "ann").config
    assert document["shipped"]["verdict"] == "ship"
    lab.runtime.snapshots.refresh()
    play({"control": 0.4, "treated": 0.2}, 5000)
    now = lab.results("kept")
    kept = frozen.get(engine, "kept")
    assert kept is not None
    assert kept.metrics[0].comparisons[0].difference == then["metrics"][0]["comparisons"][0]["difference"]
    assert kept.computed_at == then["computed_at"] and now["window"]["decisions"] == 3000
    by_country = frozen.get(engine, "kept", segment="country")
    assert by_country is not None and by_country.computed_at == split["computed_at"]
    assert lab.audit("kept").ok
    shipping.roll_back(engine, "kept", "it turned", "ann")
    assert frozen.get(engine, "kept") is None and results.newest(engine, "kept") is not None
