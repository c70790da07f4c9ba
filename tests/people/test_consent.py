"""Consent: an append-only ledger, and at once in every decision of every experiment."""

from datetime import UTC, datetime
from typing import Any

from tests.service import Client, bandit, make_key, query

GRANT = {"text_version": "2026-11", "source": "settings page"}


def say(client: Client, unit: str, **purposes: str) -> Any:
    consent_body = {"unit_id": unit, "purposes": purposes, "occurred_at": datetime.now(UTC).isoformat(), **GRANT}
    answer = client.post("/v1/consent", consent_body)
    assert answer.status == 200, answer.raw
    return answer.body["consent"]


def stored(database_url: str, decision_id: str) -> Any:
    columns = "SELECT arm, withheld, context, closes_at IS NULL, policy_version FROM decisions WHERE id = %s"
    return query(database_url, columns, decision_id)[0]


def test_the_last_answer_applies_and_every_line_stays(client: Client) -> None:
    assert say(client, "lina", personalise="granted", learn="granted") == {
        "personalise": "granted", "learn": "granted", "analyse": None, "message": None}  # fmt: skip
    say(client, "lina", learn="revoked")
    say(client, "lina", learn="revoked")  # said again
    answer = client.get("/v1/consent/lina")
    assert answer.status == 200
    assert answer.body["consent"]["learn"] == "revoked"
    lines = [(line["purpose"], line["status"]) for line in answer.body["ledger"]]
    assert lines == [("learn", "revoked"), ("learn", "granted"), ("personalise", "granted")]
    assert {line["text_version"] for line in answer.body["ledger"]} == {"2026-11"}
    say(client, "lina", learn="granted")
    assert len(client.get("/v1/consent/lina").body["ledger"]) == 4


def test_a_revocation_applies_from_the_next_decision_on_in_every_experiment(client: Client, database_url: str) -> None:
    arms = [{**bandit()[0], "share": 1.0}, {"key": "control", "share": 0.0, "policy": {"type": "fixed", "action": "b"}}]
    client.make("agreed", arms=arms, control_arm="control")
    before = client.decide("agreed", unit_id="revoker", context={"age": 31}).body
    assert before["arm"] == "learned"
    say(client, "revoker", personalise="revoked")
    answer = client.decide("agreed", unit_id="revoker", context={"age": 31}).body
    assert (answer["arm"], answer["action"]["id"], answer["propensity"]) == ("control", "b", 1.0)
    assert stored(database_url, answer["decision_id"]) == ("control", ["personalise"], {}, True, 0)
    waiting = "SELECT count(*) FROM awaiting_outcome WHERE decision_id = %s"
    assert query(database_url, waiting, answer["decision_id"]) == [(0,)]
    assert client.decide("agreed", unit_id="somebody else", context={"age": 31}).body["arm"] == "learned"
    say(client, "revoker", personalise="granted")
    assert client.decide("agreed", unit_id="revoker", context={"age": 31}).body["arm"] == "learned"


def test_a_yes_that_comes_late_does_not_undo_a_later_no(client: Client) -> None:
    client.make("late-yes")
    body = {"unit_id": "hesitant", "purposes": {"message": "granted"}, "occurred_at": "2026-01-01T12:00:00Z", **GRANT}
    assert client.post("/v1/consent", body).body["consent"]["message"] == "granted"
    assert say(client, "hesitant", message="revoked")["message"] == "revoked"
    assert client.post("/v1/consent", body).body["consent"]["message"] == "revoked"
    assert say(client, "hesitant", message="granted")["message"] == "granted"
    ahead = body | {"occurred_at": "2999-01-01T00:00:00Z"}
    client.post("/v1/consent", ahead | {"purposes": {"message": "denied"}})
    assert say(client, "hesitant", message="granted")["message"] == "granted"
    assert len(client.get("/v1/consent/hesitant").body["ledger"]) == 5


def test_a_retry_is_recognised_and_undoes_nothing(client: Client) -> None:
    yes = {"unit_id": "retried", "purposes": {"message": "granted", "learn": "granted"}, **GRANT}
    yes["occurred_at"] = "2026-01-01T12:00:00Z"
    no = {"unit_id": "retried", "purposes": {"message": "revoked"}, "occurred_at": "2026-01-02T12:00:00Z", **GRANT}
    later = yes | {"purposes": {"message": "granted"}, "occurred_at": "2026-01-03T12:00:00Z"}
    assert client.post("/v1/consent", yes).body["consent"]["message"] == "granted"
    assert client.post("/v1/consent", no).body["consent"]["message"] == "revoked"
    assert client.post("/v1/consent", yes).body["consent"]["message"] == "revoked"
    assert client.post("/v1/consent", later).body["consent"]["message"] == "granted"
    assert client.post("/v1/consent", no).body["consent"]["message"] == "granted"
    assert len(client.get("/v1/consent/retried").body["ledger"]) == 4
    untimed = {name: value for name, value in later.items() if name != "occurred_at"}
    refused = client.post("/v1/consent", untimed)
    assert (refused.status, refused.body["errors"][0]["path"]) == (422, "/occurred_at")
    assert (
        client.post("/v1/consent", untimed | {"purposes": {"message": "denied"}}).body["consent"]["message"] == "denied"
    )
    ahead = client.post("/v1/consent", later | {"occurred_at": "2999-01-01T00:00:00Z"})
    assert (ahead.status, ahead.body["errors"][0]["path"]) == (422, "/occurred_at")
    assert client.get("/v1/consent/retried").body["consent"]["message"] == "denied"


def test_a_batch_with_a_unit_that_revoked_is_still_one_commit(client: Client, database_url: str) -> None:
    client.make("mixed")
    say(client, "no-learning", learn="denied", analyse="denied")
    bodies = [{"experiment": "mixed", "unit_id": unit} for unit in ("one", "no-learning", "two")]
    answer = client.post("/v1/decide/batch", {"decisions": bodies})
    assert answer.status == 201, answer.raw
    withheld = [stored(database_url, decision["decision_id"])[1] for decision in answer.body["decisions"]]
    assert withheld == [None, ["learn", "analyse"], None]
    windows = [stored(database_url, decision["decision_id"])[3] for decision in answer.body["decisions"]]
    assert windows == [False, True, False]


def test_without_consent_to_messages_nothing_is_said(client: Client) -> None:
    actions = [{"id": "tip", "template": {"texts": {"en": {"body": "A tip"}}}}, {"id": "nothing"}]
    client.make("asked-first", actions=actions, consent={"message": "if_granted"})
    body = {"experiment": "asked-first", "unit_id": "shy"}
    answer = client.post("/v1/messages/decide", body).body
    assert answer["message"] is None and answer["ineligible"] == [
        {"id": "tip", "reason": "no consent to messages", "code": "no_consent", "params": {}}
    ]
    say(client, "shy", message="granted")
    assert client.post("/v1/messages/decide", body).body["ineligible"] == []
    say(client, "shy", message="revoked")
    assert client.post("/v1/messages/decide", body).body["message"] is None


def test_where_all_arms_learn_people_without_consent_get_every_action_alike(client: Client, database_url: str) -> None:
    client.make("all-learn", arms=bandit(), consent={"personalise": "if_granted"})
    answer = client.decide("all-learn", unit_id="silent", context={"age": 3}).body
    assert answer["propensity"] == 1 / 3
    assert stored(database_url, answer["decision_id"]) == ("learned", ["personalise"], {}, True, 0)


def test_a_person_gets_everything_that_is_stored(client: Client, database_url: str) -> None:
    client.make("exported")
    decided = client.decide("exported", unit_id="curious", context={"city": "Linz"}).body
    client.post("/v1/reward", {"decision_id": decided["decision_id"], "value": 1.0})
    say(client, "curious", learn="granted")
    answer = client.get("/v1/units/curious")
    assert answer.status == 200, answer.raw
    (decision,) = answer.body["decisions"]
    assert (decision["experiment"], decision["context"]) == ("exported", {"city": "Linz"})
    assert [reward["value"] for reward in answer.body["rewards"]] == [1.0]
    assert answer.body["consent"]["learn"] == "granted" and answer.body["complete"] is True


def test_people_need_their_own_scope_and_a_key_that_is_not_bound(client: Client, web: Any, database_url: str) -> None:
    client.make("bound")
    for path in ("/v1/consent/x", "/v1/units/x"):
        assert web.client(make_key(database_url, "decide", "reward", "read", "manage")).get(path).status == 403
        bound = web.client(make_key(database_url, "people", experiment="bound")).get(path)
        assert (bound.status, bound.body["code"]) == (403, "wrong_experiment")


def test_errors_of_a_consent_are_named(client: Client) -> None:
    body = {"unit_id": "x", "purposes": {"learn": "granted"}, **GRANT}
    for change, path in (
        ({"purposes": {}}, "/purposes"),
        ({"purposes": {"sell": "granted"}}, "/purposes/sell/[key]"),
        ({"purposes": {"learn": "maybe"}}, "/purposes/learn"),
        ({"text_version": ""}, "/text_version"),
        ({"occurred_at": "yesterday"}, "/occurred_at"),
    ):
        answer = client.post("/v1/consent", body | change)
        assert (answer.status, answer.body["errors"][0]["path"]) == (422, path), answer.raw
