"""A trigger is checked against the experiment that it names: variables, and limits tighter than its pace."""

from typing import Any

import pytest

from tests.page_client import Browser
from tests.service import Client

NEEDY = {"texts": {"en": {"body": "You have {{ items }} and {{ coins | default: 0 }}"}}}
VARIABLES = [
    {"name": "items", "sample": 2, "required": True},
    {"name": "coins", "sample": 1},
    {"name": "unused", "sample": 1, "required": True},
]
CAPS = {"caps": [{"limit": 1, "window_s": 86_400.0}], "min_distance_s": 7200.0}


@pytest.fixture(scope="module", autouse=True)
def needy(client: Client) -> None:
    actions = [{"id": "say", "template": NEEDY}, {"id": "nothing"}]
    client.make("needy", actions=actions, variables=VARIABLES, fatigue=CAPS)


def trigger(key: str, **fields: Any) -> dict[str, Any]:
    pattern = {"type": "count", "event": "done", "count": 3, "window_s": 3600.0}
    return {"key": key, "experiment": "needy", "pattern": pattern, "delivery": {"to": "unit"}, **fields}


def test_a_trigger_that_never_supplies_a_needed_variable_is_refused(client: Client) -> None:
    refused = client.post("/v1/triggers", trigger("lacks", variables={"coins": "coins"}))
    assert refused.status == 422
    (error,) = refused.body["errors"]
    assert (error["path"], error["code"]) == ("/variables", "trigger_variable_missing") and "'items'" in error[
        "message"
    ]
    assert client.post("/v1/triggers", trigger("has", variables={"items": "cart.items"})).status == 201
    other = client.patch("/v1/triggers/has", {"variables": {}})
    assert other.status == 422 and other.body["errors"][0]["code"] == "trigger_variable_missing"


def test_a_change_that_needs_a_variable_which_no_trigger_supplies_is_refused(client: Client) -> None:
    action = {"id": "say", "template": {"texts": {"en": {"body": "Hello"}}}}
    client.make("grows", actions=[action, {"id": "nothing"}])
    assert client.post("/v1/triggers", trigger("plain-one", experiment="grows")).status == 201
    needs = {"id": "say", "template": {"texts": {"en": {"body": "Hello {{ name }}"}}}}
    patch = {"actions": [needs, {"id": "nothing"}], "variables": [{"name": "name", "sample": "Ada", "required": True}]}
    refused = client.patch("/v1/experiments/grows", patch)
    assert refused.status == 422
    (error,) = refused.body["errors"]
    assert (error["path"], error["code"]) == ("/variables/0/name", "trigger_never_supplies")
    assert "'plain-one'" in error["message"]
    assert client.patch("/v1/triggers/plain-one", {"variables": {"name": "user.name"}}).status == 200
    assert client.patch("/v1/experiments/grows", patch).status == 200
    assert client.patch("/v1/experiments/grows", {"name": "Other"}).status == 200


def test_the_page_warns_of_limits_that_are_tighter_than_the_pace(client: Client, viewer: Browser) -> None:
    assert client.post("/v1/triggers", trigger("fast", variables={"items": "n"})).status == 201
    text = viewer.get("/admin/triggers/fast").text
    assert "can fire every 1 hour for one unit, but needy allows at most 1 message within 1 day" in text
    assert "at most 1 message within 2 hours" in text
    slow = {"type": "absence", "event": "done", "for_s": 2 * 86_400.0}
    assert client.post("/v1/triggers", trigger("slow", variables={"items": "n"}, pattern=slow)).status == 201
    assert "Firings beyond that send nothing" not in viewer.get("/admin/triggers/slow").text
