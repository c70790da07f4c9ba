"""OpenFeature's own provider, unmodified, against a running server; and the protocol's answers that it does not show."""

import json
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from tests.lab import arm
from tests.service import BOTH_FRONTS, Client, Web, make_key, query

FRONTS = BOTH_FRONTS
ARMS = [arm("control", 0.5, "off"), arm("even", 0.5)]
FLAG = "/ofrep/v1/evaluate/flags"
VALUES: dict[str, Any] = {"theme": {"colour": "blue"}, "on": True, "limit": 5, "rate": 0.25, "hello": "Hello"}


@pytest.fixture(scope="module")
def flags(web: Web, client: Client, database_url: str) -> OpenFeatureClient:
    for key, value in VALUES.items():
        client.make(key, actions=[{"id": "shown", "payload": value}], arms=[arm("only", 1.0, "shown")])
    client.make("split", actions=[{"id": "on"}, {"id": "off"}], arms=ARMS, control_arm="control")
    key = make_key(database_url, "decide")
    provider = OFREPProvider(f"http://127.0.0.1:{web.port}", headers_factory=lambda: {"Authorization": f"Bearer {key}"})
    api.set_provider(provider)
    return api.get_client()


def test_a_flag_of_each_type_has_its_payload_as_its_value(flags: OpenFeatureClient) -> None:
    who = EvaluationContext("user-1", {"plan": "free"})
    assert flags.get_object_details("theme", {}, who).value == {"colour": "blue"}
    assert flags.get_boolean_details("on", False, who).value is True
    assert flags.get_integer_details("limit", 1, who).value == 5
    assert flags.get_float_details("rate", 1.0, who).value == 0.25
    assert flags.get_string_details("hello", "", who).value == "Hello"


def test_an_evaluation_is_a_decision_with_its_propensity_and_takes_a_reward(
    flags: OpenFeatureClient, client: Client, database_url: str
) -> None:
    found = flags.get_string_details("split", "none", EvaluationContext("user-2", {"plan": "pro"}))
    assert (found.value, found.variant, found.reason) == (found.variant, found.value, "SPLIT")
    decision = str(found.flag_metadata["decisionId"])
    kept = "SELECT unit_id, context, propensity, state = 'active' FROM decisions WHERE id = %s"
    ((unit, context, propensity, active),) = query(database_url, kept, decision)
    assert (unit, context, propensity, active) == ("user-2", {"plan": "pro"}, found.flag_metadata["propensity"], True)
    assert client.post("/v1/reward", {"decision_id": decision, "value": 1.0}).status == 201


@pytest.mark.parametrize(
    ("flag", "context", "code"),
    [
        ("nothing", EvaluationContext("u"), ErrorCode.FLAG_NOT_FOUND),
        ("not a key!", EvaluationContext("u"), ErrorCode.FLAG_NOT_FOUND),
        ("split", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("split", None, ErrorCode.TARGETING_KEY_MISSING),
        ("split", EvaluationContext("u", {"deep": "x" * 2_000_000}), ErrorCode.GENERAL),
        ("theme", EvaluationContext("u"), ErrorCode.TYPE_MISMATCH),
    ],
)
def test_what_cannot_be_evaluated_gives_the_default_and_a_code(
    flags: OpenFeatureClient, flag: str, context: EvaluationContext | None, code: ErrorCode
) -> None:
    found = flags.get_string_details(flag, "my default", context)
    assert (found.value, found.error_code) == ("my default", code)


def test_errors_have_the_protocols_shape(client: Client, flags: OpenFeatureClient, database_url: str) -> None:
    missing = client.post(f"{FLAG}/split", {"context": {}})
    assert (missing.status, missing.body["key"]) == (400, "split")
    assert missing.body["errorCode"] == "TARGETING_KEY_MISSING" and "targetingKey" in missing.body["errorDetails"]
    for body in ({"context": {"targetingKey": 5}}, {"context": {"targetingKey": "u", "\ud800": 1}}, {"context": []}):
        answer = client.post(f"{FLAG}/split", json.dumps(body).encode())
        assert answer.status == 400 and answer.body["errorCode"] in ("INVALID_CONTEXT", "PARSE_ERROR"), answer.raw
    assert client.post(f"{FLAG}/split", b"{").body["errorCode"] == "PARSE_ERROR"
    client.make("stopped", actions=[{"id": "on"}], arms=[arm("only", 1.0, "on")], start=False)
    stopped = client.post(f"{FLAG}/stopped", {"context": {"targetingKey": "u"}})
    assert (stopped.status, stopped.body["errorCode"]) == (400, "GENERAL")
    other = Client(client.port, make_key(database_url, "decide", experiment="on"))
    assert other.post(f"{FLAG}/split", {"context": {"targetingKey": "u"}}).status == 403
    assert client.get("/ofrep/v1/nowhere").body["errorCode"] == "GENERAL"
    assert Client(client.port, "").post(f"{FLAG}/split", {}).status == 401


def test_all_flags_at_once_wait_for_their_activation(
    client: Client, flags: OpenFeatureClient, database_url: str
) -> None:
    bound = Client(client.port, make_key(database_url, "decide", "reward", experiment="split"))
    asked = {"context": {"targetingKey": "user-3"}}
    answer = bound.post(FLAG, asked)
    (flag,) = answer.body["flags"]
    assert (answer.status, flag["key"], flag["reason"]) == (200, "split", "SPLIT")
    decision = flag["metadata"]["decisionId"]
    active = "SELECT state = 'active' FROM decisions WHERE id = %s"
    assert query(database_url, active, decision) == [(False,)]
    assert bound.post(f"/v1/decisions/{decision}/activate").status in (200, 204)
    assert query(database_url, active, decision) == [(True,)]

    tag = answer.headers["ETag"]
    count = "SELECT count(*) FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = 'split'"
    before = query(database_url, count)
    again = bound.post(FLAG, asked, **{"If-None-Match": tag})
    assert (again.status, again.raw) == (304, b"") and query(database_url, count) == before
    assert bound.post(FLAG, {"context": {"targetingKey": "user-4"}}, **{"If-None-Match": tag}).status == 200
    client.patch("/v1/experiments/split", {"name": "changed"})
    assert bound.post(FLAG, asked, **{"If-None-Match": tag}).status == 200

    everything = {flag["key"]: flag for flag in client.post(FLAG, asked).body["flags"]}
    assert {*VALUES, "split"} <= set(everything) and "stopped" not in everything
    assert {key: everything[key]["value"] for key in VALUES} == VALUES
    assert client.post(FLAG, {"context": {}}).body["flags"][0]["errorCode"] == "TARGETING_KEY_MISSING"


def test_a_provider_learns_how_often_to_ask(client: Client) -> None:
    answer = client.get("/ofrep/v1/configuration")
    assert answer.body["capabilities"]["cacheInvalidation"]["polling"]["minPollingIntervalMs"] >= 1000
