"""`POST /v1/events`: stored once, all or none, and kept even if they fire nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.messaging.api.events import EventsAnswer
from tests.service import Client, Web, make_key, query


def _send(client: Client, status: int, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/v1/events", body)
    assert answer.status == status, answer.raw
    EventsAnswer.model_validate(answer.body, strict=True, extra="forbid")
    return list(answer.body["events"])


def _in(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def _waits(database_url: str, event_id: str) -> bool:
    return bool(query(database_url, "SELECT 1 FROM awaiting_match WHERE event_id = %s", event_id))


def test_an_event_is_stored_with_a_receipt_and_queued_for_matching(client: Client, database_url: str) -> None:
    event = {"unit_id": "u", "name": "lesson-done", "properties": {"a": {"b": [1, "x", None]}}, "event_id": "e-1"}
    (receipt,) = _send(client, 201, event)
    assert (receipt["event_id"], receipt["ignored"]) == ("e-1", None)
    stored = "SELECT unit_id, name, properties, occurred_at = received_at FROM events WHERE event_id = 'e-1'"
    assert query(database_url, stored) == [("u", "lesson-done", {"a": {"b": [1, "x", None]}}, True)]
    assert _waits(database_url, "e-1")
    assert _send(client, 200, event) == [receipt]


@pytest.mark.parametrize("other", [{"unit_id": "v"}, {"name": "x"}, {"properties": {"a": 1}}, {"occurred_at": _in()}])
def test_another_event_under_the_same_id_is_409(client: Client, other: dict[str, Any]) -> None:
    event = {"unit_id": "u", "name": "n", "event_id": "taken", "properties": {}}
    assert client.post("/v1/events", event).status in (200, 201)
    answer = client.post("/v1/events", event | other)
    assert (answer.status, answer.body["code"]) == (409, "event_id_reused")


def test_an_event_without_an_id_is_identified_by_its_content(client: Client) -> None:
    event = {"unit_id": "auto", "name": "seen", "occurred_at": _in(seconds=-5), "properties": {"x": 1, "y": 2}}
    (first,) = _send(client, 201, event)
    assert _send(client, 200, event | {"properties": {"y": 2, "x": 1}}) == [first]
    (second,) = _send(client, 201, event | {"occurred_at": _in(seconds=-4)})
    assert second["event_id"] != first["event_id"]


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ({"minutes": 10}, "it lies more than 5 minutes in the future"),
        ({"days": -8}, "it lies more than 7 days in the past"),
        ({"days": -9000}, "it lies more than 7 days in the past"),
        ({"minutes": 4}, None),
        ({"days": -6}, None),
    ],
)
def test_events_too_far_in_the_past_or_future_are_stored_with_the_reason_and_fire_nothing(
    client: Client, database_url: str, when: dict[str, float], reason: str | None
) -> None:
    (receipt,) = _send(client, 201, {"unit_id": "far", "name": "n", "occurred_at": _in(**when)})
    assert receipt["ignored"] == reason
    assert query(database_url, "SELECT ignored FROM events WHERE event_id = %s", receipt["event_id"]) == [(reason,)]
    assert _waits(database_url, receipt["event_id"]) is (reason is None)


def test_a_batch_is_stored_completely_or_not_at_all(client: Client, database_url: str) -> None:
    events = [{"unit_id": f"b-{n}", "name": "n", "event_id": f"batch-{n}"} for n in range(1000)]
    assert client.post("/v1/events", events[500]).status == 201
    spoilt = [*events[:999], events[500] | {"name": "other"}]
    answer = client.post("/v1/events", {"events": spoilt})
    assert (answer.status, answer.body["code"]) == (409, "event_id_reused")
    assert answer.body["detail"].startswith("/events/999")
    count = "SELECT count(*) FROM events WHERE event_id LIKE 'batch-%'"
    assert query(database_url, count) == [(1,)]
    receipts = _send(client, 201, {"events": events})
    assert query(database_url, count) == [(1000,)]
    assert _send(client, 200, {"events": events}) == receipts
    assert client.post("/v1/events", {"events": [*events, events[0]]}).status == 422


def test_many_clients_that_report_one_event_at_once_store_it_once(client: Client, database_url: str) -> None:
    event = {"unit_id": "u", "name": "n", "event_id": "raced"}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/events", event), range(32)))
    assert sorted(answer.status for answer in answers) == [200] * 31 + [201]
    assert len({answer.raw for answer in answers}) == 1
    assert query(database_url, "SELECT count(*) FROM awaiting_match WHERE event_id = 'raced'") == [(1,)]


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"unit_id": "u"}, ""),
    ({"events": [{"unit_id": "u", "name": "n"}], "unit_id": "u", "name": "n"}, ""),
    ({"events": []}, "/events"),
    ({"events": [{"unit_id": "u"}]}, "/events/0/name"),
    ({"events": [{"unit_id": "u", "name": "n"}], "event_id": "x"}, ""),
    ({"unit_id": "", "name": "n"}, "/unit_id"),
    ({"unit_id": "u", "name": "has space"}, "/name"),
    ({"unit_id": "u", "name": "n", "properties": []}, "/properties"),
    ({"unit_id": "u", "name": "n", "properties": {"x": "y" * 17_000}}, "/properties"),
    ({"unit_id": "u", "name": "n", "event_id": ""}, "/event_id"),
    ({"unit_id": "u", "name": "n", "occurred_at": "yesterday"}, "/occurred_at"),
    ({"unit_id": "u", "name": "n", "occurred_at": 12}, "/occurred_at"),
    ({"unit_id": "u", "name": "n", "occurred_at": "99999-01-01T00:00:00Z"}, "/occurred_at"),
    ({"unit_id": "u", "name": "n", "more": 1}, "/more"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_an_error_names_the_wrong_field(client: Client, number: int) -> None:
    body, path = BAD[number]
    answer = client.post("/v1/events", body)
    assert answer.status == 422, answer.raw
    assert any(error["path"] == path for error in answer.body["errors"]), answer.body


def test_a_nul_and_deep_nesting_are_refused(client: Client) -> None:
    nul = client.post("/v1/events", b'{"unit_id": "u", "name": "n", "properties": {"x": "\\u0000"}}')
    assert (nul.status, nul.body["code"]) == (400, "nul_character")
    deep = b'{"unit_id": "u", "name": "n", "properties": {"x": ' + b"[" * 40 + b"]" * 40 + b"}}"
    assert client.post("/v1/events", deep).body["code"] == "too_deep"
    assert client.post("/v1/events", b'{"unit_id": "u", "name": "n", "properties": {"x": "\\ud800"}}').status == 400


def test_keys_without_the_scope_and_keys_bound_to_an_experiment_cannot_report_events(
    client: Client, web: Web, database_url: str
) -> None:
    client.make("bound")
    event = {"unit_id": "u", "name": "n"}
    for key, code in (
        (make_key(database_url, "decide"), "missing_scope"),
        (make_key(database_url, "reward", experiment="bound"), "wrong_experiment"),
    ):
        answer = web.client(key).post("/v1/events", event)
        assert (answer.status, answer.body["code"]) == (403, code)
