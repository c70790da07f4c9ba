"""`POST /v1/messages/decide` draws among the messages that can be rendered for a person, and logs the message as sent."""

from typing import Any

import pytest

from tests.service import Client, query, runtime_of, settings

TEMPLATE = {"texts": {"en": {"title": "Hi {{user_name}}", "body": "You did {{progress_percentage}}%.", "call_to_action": "Go on"},
                      "de": {"title": "Hallo {{user_name}}", "body": "Du hast {{progress_percentage}}%."}}}  # fmt: skip
PLAIN = {"texts": {"en": {"body": "Go on where you left."}, "de": {"body": "Mach weiter."}}}
PUSH = {"channel": "push", "texts": {"en": {"body": "Back to work"}}}
ACTIONS = [
    {"id": "personal", "template": TEMPLATE, "payload": {"icon": "wave"}},
    {"id": "plain", "template": PLAIN},
    {"id": "push", "template": PUSH},
    {"id": "nothing"},
]
VARIABLES = [
    {"name": "user_name", "sample": "Ada", "required": True},
    {"name": "progress_percentage", "sample": 40, "required": True},
]
ADA = {"user_name": "Ada <3", "progress_percentage": 40}


@pytest.fixture(scope="module")
def key(client: Client) -> str:
    client.make("tips", actions=ACTIONS, variables=VARIABLES)
    return "tips"


def ask(client: Client, **fields: Any) -> Any:
    answer = client.post("/v1/messages/decide", {"experiment": "tips", "unit_id": "u", **fields})
    assert answer.status in (200, 201), answer.raw
    return answer.body


def ask_until(client: Client, action: str, **fields: Any) -> Any:
    """Repeat the call until this action is drawn (each has a probability of at least 1/4)."""
    for _ in range(100):
        answer = ask(client, **fields)
        if answer["action"]["id"] == action:
            return answer
    raise AssertionError(f"{action} was never drawn")


def test_a_message_is_rendered_for_the_person_in_the_language(client: Client, key: str) -> None:
    answer = ask_until(client, "personal", variables=ADA, locale="de-AT")
    assert answer["message"] == {
        "locale": "de",
        "channel": "in_app",
        "title": "Hallo Ada <3",
        "body": "Du hast 40%.",
        "call_to_action": "",
    }
    assert answer["action"]["payload"] == {"icon": "wave"}
    assert answer["ineligible"] == [] and answer["propensity"] == 0.25


def test_a_variant_that_lacks_a_value_is_excluded_before_the_draw_and_logged(
    client: Client, key: str, database_url: str
) -> None:
    answer = ask(client, variables={"progress_percentage": 10})
    logged = {"id": "personal", "code": "missing_variable", "params": {"name": "'user_name'"}}
    assert answer["ineligible"] == [logged | {"reason": "placeholder 'user_name' has no value"}]
    assert answer["propensity"] == pytest.approx(1 / 3)
    assert {item["id"] for item in answer["ranking"]} == {"plain", "push", "nothing"}
    stored = "SELECT eligible, ineligible FROM decisions WHERE id = %s"
    assert query(database_url, stored, answer["decision_id"]) == [(["plain", "push", "nothing"], [logged])]


def test_an_action_without_a_message_can_be_drawn_like_any_other(client: Client, key: str) -> None:
    assert ask_until(client, "nothing", variables=ADA)["message"] is None


def test_caps_limit_survey_prompts_like_other_messages(client: Client) -> None:
    actions = [{"id": "ask", "template": {**PLAIN, "asks": "stars"}}, {"id": "nothing"}]
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "ask"}}]
    client.make("survey", actions=actions, arms=arms, fatigue={"caps": [{"limit": 1, "window_s": 3600.0}]}, feedback={})
    first = ask(client, experiment="survey", unit_id="asked")
    assert first["message"]["asks"] == "stars"
    answer = client.post("/v1/feedback", {"decision_id": first["decision_id"], "kind": "stars", "value": 4})
    assert answer.status == 201, answer.raw
    assert ask(client, experiment="survey", unit_id="asked")["message"] is None
    assert client.get("/v1/experiments/survey").body["actions"][0]["template"]["asks"] == "stars"


def test_a_call_for_one_channel_excludes_the_other_channels(client: Client, key: str) -> None:
    answer = ask(client, channel="push")
    assert {item["id"] for item in answer["ranking"]} == {"push", "nothing"}
    assert {item["reason"] for item in answer["ineligible"]} == {"its channel is in_app"}


def test_a_retry_gets_the_same_message_even_if_the_template_has_changed(client: Client) -> None:
    client.make("changing", actions=[{"id": "a", "template": PLAIN}])
    body = {"experiment": "changing", "unit_id": "u", "decision_id": "changing-1"}
    first = client.post("/v1/messages/decide", body)
    assert first.status == 201 and first.body["message"]["body"] == "Go on where you left."
    changed = [{"id": "a", "template": {"texts": {"en": {"body": "Another text."}}}}]
    assert client.patch("/v1/experiments/changing", {"actions": changed}).status == 200
    again = client.post("/v1/messages/decide", body)
    assert again.status == 200 and again.body == first.body
    other = client.post("/v1/messages/decide", body | {"locale": "de"})
    assert other.status == 409 and other.body["code"] == "decision_id_reused"


def test_a_call_without_any_eligible_message_fails_with_the_reasons(client: Client) -> None:
    client.make("personal-only", actions=[{"id": "a", "template": TEMPLATE}], variables=VARIABLES)
    answer = client.post("/v1/messages/decide", {"experiment": "personal-only", "unit_id": "u"})
    assert answer.status == 422
    assert "a: placeholder 'user_name' has no value" in answer.body["detail"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"variables": {"user_name": {"deep": 1}}}, "/variables/user_name"),
        ({"variables": {"Bad Name": 1}}, "/variables"),
        ({"locale": "english please"}, "/locale"),
        ({"channel": "pigeon"}, "/channel"),
        ({"actions": [{"id": "x"}]}, "/actions"),
    ],
)
def test_an_error_names_the_path_of_the_wrong_value(
    client: Client, key: str, fields: dict[str, Any], path: str
) -> None:
    answer = client.post("/v1/messages/decide", {"experiment": "tips", "unit_id": "u", **fields})
    assert answer.status == 422
    assert answer.body["errors"][0]["path"].startswith(path)


def test_the_message_is_sealed_and_the_audit_finds_a_change_of_it(client: Client, key: str, database_url: str) -> None:
    from app.verification.audit import audit_experiment

    ask_until(client, "plain", variables=ADA)
    with runtime_of(database_url) as runtime:
        assert audit_experiment(runtime.engine, settings(database_url), "tips").ok
        changed = "UPDATE decisions SET message = '{\"body\": \"Pay now!\"}' WHERE message ->> 'body' = %s"
        query(database_url, changed, "Go on where you left.")
        report = audit_experiment(runtime.engine, settings(database_url), "tips")
    assert not report.ok and "the seal is broken" in report.findings[0]
