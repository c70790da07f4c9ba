"""Multi-slot events of Personalizer: lists whose positions exclude actions of their own and have features of their own."""

from typing import Any

import pytest

from app.verification.audit import audit_experiment
from tests.service import Client, Web, engine_of, query, settings
from tests.web.personalizer import ACTIONS, CONTEXT, bound, make

FORMS = ["v1.0", "v1.1-preview.1", "v1.1-preview.2", "v1.1-preview.3"]


@pytest.fixture(scope="module")
def caller(web: Web, client: Client, database_url: str) -> Client:
    make(client, "page")
    return bound(web, database_url, "page")


def _slot(name: str, *excluded: str, **features: Any) -> dict[str, Any]:
    return {"id": name, "features": [features], "excludedActions": [*excluded], "baselineAction": "pasta"}


def _body(*slots: dict[str, Any], event: str | None = None, **fields: Any) -> dict[str, Any]:
    named = {} if event is None else {"eventId": event}
    return {"contextFeatures": CONTEXT, "actions": ACTIONS, "slots": [*slots], **named, **fields}


def _rank(caller: Client, *slots: dict[str, Any], **fields: Any) -> Any:
    answer = caller.post("/personalizer/v1.1-preview.3/multislot/rank", _body(*slots, **fields))
    assert answer.status == 201, answer.raw
    return answer.body


def _chosen(answer: Any) -> dict[str, str]:
    return {slot["id"]: slot["rewardActionId"] for slot in answer["slots"]}


def test_every_slot_has_an_action_of_its_own_that_it_does_not_exclude(caller: Client) -> None:
    seen = set()
    for _ in range(30):
        chosen = _chosen(_rank(caller, _slot("top", "salad"), _slot("side", "pasta"), _slot("foot")))
        assert sorted(chosen.values()) == ["ice cream", "pasta", "salad"]
        assert chosen["top"] != "salad" and chosen["side"] != "pasta"
        seen.add(tuple(chosen.values()))
    assert len(seen) > 1


def test_a_slot_above_leaves_the_only_action_that_a_slot_below_takes(caller: Client, database_url: str) -> None:
    for number in range(10):
        chosen = _chosen(_rank(caller, _slot("top"), _slot("only", "pasta", "salad"), event=f"kept-{number}"))
        assert chosen["only"] == "ice cream"
    ((eligible, reasons),) = query(database_url, "SELECT eligible, ineligible FROM decisions WHERE id = 'kept-0'")
    assert eligible == ["pasta", "salad"]
    assert reasons == [{"id": "ice cream", "code": "later_slot", "params": {"slot": "only"}}]


def test_slots_features_are_learned_from_and_the_audit_finds_nothing(caller: Client, database_url: str) -> None:
    _rank(caller, _slot("top", size="large"), _slot("side", "salad", size="small"), event="audited")
    rows = query(database_url, "SELECT id, context FROM decisions WHERE id LIKE 'audited%%' ORDER BY id")
    assert [row[1]["slot"] for row in rows] == [
        {"id": "top", "features": {"size": "large"}},
        {"id": "side", "features": {"size": "small"}},
    ]
    assert [row[1]["timeOfDay"] for row in rows] == ["morning"] * 2
    with engine_of(database_url) as engine:
        assert audit_experiment(engine, settings(database_url), "page").findings == []


@pytest.mark.parametrize("form", FORMS)
def test_the_same_event_gives_the_same_choices_in_every_version(caller: Client, form: str) -> None:
    body = _body(_slot("a"), _slot("b"), event="again")
    first = caller.post("/personalizer/multislot/rank?api-version=2022-09-01-preview", body)
    second = caller.post(f"/personalizer/{form}/multislot/rank", body)
    assert (first.status, second.status) == (201, 201) and first.body == second.body


def test_each_slot_has_its_own_reward_and_all_are_stored_or_none(caller: Client, database_url: str) -> None:
    _rank(caller, _slot("a"), _slot("b"), event="paid")
    at = "/personalizer/v1.1-preview.3/multislot/events/paid/reward"
    stored = "SELECT decision_id, value FROM rewards WHERE decision_id LIKE 'paid%%' ORDER BY decision_id"
    refused = caller.post(at, {"reward": [{"slotId": "b", "value": 1.0}, {"slotId": "z", "value": 1.0}]})
    assert (refused.status, refused.body["error"]["target"]) == (404, "unknown_slot")
    assert caller.post(at, {"reward": [{"slotId": "b", "value": 1.0}, {"slotId": "a", "value": 7.0}]}).status == 400
    assert query(database_url, stored) == []
    for _ in range(2):
        answer = caller.post(at, {"reward": [{"slotId": "b", "value": 1.0}, {"slotId": "a", "value": 0.25}]})
        assert (answer.status, answer.raw) == (204, b"")
    assert query(database_url, stored) == [("paid", 0.25), ("paid#2", 1.0)]


def test_activation_opens_every_slot(caller: Client, database_url: str) -> None:
    _rank(caller, _slot("a"), _slot("b"), event="later", deferActivation=True)
    states = "SELECT state FROM decisions WHERE id LIKE 'later%%'"
    assert query(database_url, states) == [("deferred",)] * 2
    assert caller.post("/personalizer/v1.1-preview.1/multislot/events/later/activate").status == 204
    assert query(database_url, states) == [("active",)] * 2


def test_what_cannot_be_filled_or_named_is_400(caller: Client) -> None:
    at = "/personalizer/v1.1-preview.3/multislot/rank"
    same = [_slot("a", "pasta", "salad"), _slot("b", "pasta", "salad")]
    for body, words in (
        (_body(*same), "at least as many actions as slots"),
        (_body(*(_slot(str(number)) for number in range(4))), "at least as many actions as slots"),
        (_body(_slot("a"), _slot("a")), "unique within an event"),
        (_body(), "slots"),
        (_body(_slot("a"), contextFeatures=[{"slot": 1}]), "Loopwise fills this field"),
    ):
        answer = caller.post(at, body)
        assert (answer.status, answer.body["error"]["code"]) == (400, "BadRequest")
        assert words in answer.body["error"]["message"]
    assert caller.post("/personalizer/v1.1-preview.3/multislot/events/never/activate").status == 404


def test_only_declared_fields_of_context_and_slots_are_stored(web: Web, client: Client, database_url: str) -> None:
    make(client, "private", context_fields=[{"name": "timeOfDay"}])
    make(client, "slots", context_fields=[{"name": "device", "hashed": True}, {"name": "slot"}])
    for key, fields in (("private", {"timeOfDay"}), ("slots", {"device"})):
        _rank(bound(web, database_url, key), _slot("a", secret="s"), event=f"of-{key}")
        ((context,),) = query(database_url, "SELECT context FROM decisions WHERE id = %s", f"of-{key}")
        assert set(context) == {"position", "slot", *fields}
        assert context["slot"] == {"id": "a"} | ({"features": {"secret": "s"}} if key == "slots" else {})
    assert isinstance(context["device"], str)


def test_without_consent_to_personalise_no_feature_is_used(web: Web, client: Client, database_url: str) -> None:
    make(client, "asking", consent={"personalise": "if_granted"})
    _rank(bound(web, database_url, "asking"), _slot("a", size="large"), event="unasked")
    ((context,),) = query(database_url, "SELECT context FROM decisions WHERE id = 'unasked'")
    assert context == {"position": "1", "slot": {"id": "a"}}
