"""Triggers, webhooks and deliveries over HTTP: definitions, moves, dry runs, and errors that name the wrong field."""

from typing import Any

import pytest

from app.messaging.api import answers as shapes
from tests.service import Answer, Client, Web, counts, make_key, query

MESSAGE = {"texts": {"en": {"body": "Hello"}}}
PATTERN = {"type": "event", "event": "done"}


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make("tips", actions=[{"id": "hello", "template": MESSAGE}])
    client.make("plain")


def _definition(key: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, "experiment": "tips", "pattern": PATTERN, "delivery": {"to": "unit"}, **fields}


def _ok(answer: Answer, shape: Any, status: int = 200) -> Any:
    assert answer.status == status, answer.raw
    shape.model_validate(answer.body, strict=True, extra="forbid")
    return answer.body


def test_a_trigger_is_defined_changed_started_paused_and_deleted(client: Client, database_url: str) -> None:
    definition = _definition(
        "whole",
        name="Everything",
        conditions=[
            {"property": "a.b", "is": "gte", "value": 2},
            {"property": "c", "is": "eq", "value": None},
            {"profile": {"event": "login", "window_s": 60.0}, "is": "lt", "value": 3},
        ],
        delay_s=60,
        priority=5,
        variables={"name": "user.name"},
    )
    made = _ok(client.post("/v1/triggers", definition), shapes.TriggerAnswer, 201)
    assert made["status"] == "paused"
    assert made["conditions"] == definition["conditions"]
    assert _ok(client.post("/v1/triggers/whole/start"), shapes.TriggerAnswer)["status"] == "running"
    assert client.post("/v1/triggers/whole/start").status == 200
    patched = _ok(client.patch("/v1/triggers/whole", {"priority": 7}), shapes.TriggerAnswer)
    assert (patched["priority"], patched["delay_s"], patched["status"]) == (7, 60.0, "running")
    assert _ok(client.get("/v1/triggers/whole"), shapes.TriggerAnswer) == patched
    assert patched in _ok(client.get("/v1/triggers"), shapes.TriggerListAnswer)["triggers"]
    assert _ok(client.get("/v1/triggers/whole/firings"), shapes.FiringListAnswer) == {"firings": [], "next": None}
    _ok(client.post("/v1/triggers/whole/dry-run"), shapes.DryRunAnswer)
    assert _ok(client.post("/v1/triggers/whole/pause"), shapes.TriggerAnswer)["status"] == "paused"
    assert client.call("DELETE", "/v1/triggers/whole").status == 200
    assert client.get("/v1/triggers/whole").body["code"] == "unknown_trigger"
    kinds = "SELECT kind FROM changes WHERE kind LIKE 'trigger%%' ORDER BY id"
    assert [kind for (kind,) in query(database_url, kinds)] == [
        "trigger_created", "trigger_start", "trigger_changed", "trigger_pause", "trigger_deleted"
    ]  # fmt: skip


def test_a_second_trigger_with_the_same_key_is_refused(client: Client) -> None:
    assert client.post("/v1/triggers", _definition("taken")).status == 201
    answer = client.post("/v1/triggers", _definition("taken"))
    assert (answer.status, answer.body["code"]) == (409, "trigger_exists")


def test_a_dry_run_of_an_unsaved_definition_stores_nothing(client: Client, database_url: str) -> None:
    events = [{"unit_id": f"u-{n % 3}", "name": "dry", "event_id": f"dry-{n}"} for n in range(150)]
    assert client.post("/v1/events", {"events": events}).status == 201
    before = query(database_url, "SELECT count(*) FROM triggers")
    definition = _definition("unsaved", pattern={"type": "event", "event": "dry"})
    report = _ok(client.post("/v1/triggers/dry-run", definition), shapes.DryRunAnswer)
    assert (report["firings"], report["units"], len(report["sample"])) == (150, 3, 100)
    assert query(database_url, "SELECT count(*) FROM triggers") == before


BAD: list[tuple[dict[str, Any], str]] = [
    ({"key": "has space"}, "/key"),
    ({"experiment": None}, "/experiment"),
    ({"experiment": "nowhere"}, "/experiment"),
    ({"experiment": "plain"}, "/experiment"),
    ({"pattern": None}, "/pattern"),
    ({"pattern": {"type": "magic"}}, "/pattern"),
    ({"pattern": {"type": "event", "event": "x", "count": 3}}, "/pattern"),
    ({"pattern": {"type": "count", "event": "x", "count": 1, "window_s": 60}}, "/pattern"),
    ({"pattern": {"type": "count", "event": "x", "count": 101, "window_s": 60}}, "/pattern"),
    ({"pattern": {"type": "count", "event": "x", "count": 3, "window_s": 1e9}}, "/pattern"),
    ({"pattern": {"type": "absence", "event": "x", "for_s": 0}}, "/pattern"),
    ({"pattern": {"type": "milestone", "event": "x", "property": "a..b", "at_least": 1}}, "/pattern"),
    ({"conditions": [{"property": "a", "is": "like", "value": "x"}]}, "/conditions/0/is"),
    ({"conditions": [{"is": "eq", "value": 1}]}, "/conditions/0"),
    (
        {"conditions": [{"property": "a", "profile": {"event": "x", "window_s": 1}, "is": "eq", "value": 1}]},
        "/conditions/0",
    ),
    ({"conditions": [{"property": "a", "is": "in", "value": 1}]}, "/conditions/0"),
    ({"conditions": [{"property": "a", "is": "gt", "value": True}]}, "/conditions/0"),
    ({"conditions": [{"property": "a", "is": "exists"}]}, "/conditions/0"),
    ({"conditions": [{"profile": {"event": "x", "window_s": 1}, "is": "gte", "value": "3"}]}, "/conditions/0"),
    ({"conditions": [{"property": "a", "is": "eq", "value": {"deep": 1}}]}, "/conditions/0/value"),
    ({"delay_s": -1}, "/delay_s"),
    ({"delay_s": "1"}, "/delay_s"),
    ({"delay_s": {"experiment": "tips"}}, "/delay_s/experiment"),
    ({"delay_s": {"experiment": "nowhere"}}, "/delay_s/experiment"),
    ({"priority": 1.5}, "/priority"),
    ({"priority": 10**9}, "/priority"),
    ({"variables": {"Bad Name": "a"}}, "/variables"),
    ({"variables": {"a": ""}}, "/variables/a"),
    ({"locale": "a b"}, "/locale"),
    ({"channel": "pigeon"}, "/channel"),
    ({"delivery": None}, "/delivery"),
    ({"delivery": {"to": "webhook"}}, "/delivery"),
    ({"delivery": {"to": "webhook", "webhook": "nowhere"}}, "/delivery/webhook"),
    ({"delivery": {"to": "moon"}}, "/delivery"),
    ({"unknown": 1}, "/unknown"),
]


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"delay_s": "1"}, {"/delay_s"}),
        ({"pattern": {"type": "count", "event": "x", "count": 1, "window_s": 60}}, {"/pattern/count"}),
        ({"pattern": {"type": "count", "event": "x", "count": 2}}, {"/pattern/window_s"}),
        ({"conditions": [{"property": "a", "is": "eq", "value": {}}]}, {"/conditions/0/value"}),
    ],
)
def test_error_pointers_name_fields_of_the_document_only(
    client: Client, fields: dict[str, Any], places: set[str]
) -> None:
    answer = client.post("/v1/triggers", _definition("placed") | fields)
    assert answer.status == 422 and {error["path"] for error in answer.body["errors"]} == places, answer.raw


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_wrong_definition_is_refused_and_says_where(client: Client, database_url: str, number: int) -> None:
    fields, path = BAD[number]
    before = counts(database_url)
    answer = client.post("/v1/triggers", _definition(f"bad-{number}") | fields)
    assert (answer.status, answer.body["code"]) == (422, "invalid_value"), answer.raw
    assert any(error["path"].startswith(path) for error in answer.body["errors"]), answer.body
    assert counts(database_url) == before
    changed = client.patch("/v1/triggers/taken", fields)
    assert changed.status == 422, changed.raw


def test_unknown_triggers_webhooks_and_deliveries_are_404(client: Client) -> None:
    for method, path, code in (
        ("GET", "/v1/triggers/none", "unknown_trigger"),
        ("PATCH", "/v1/triggers/none", "unknown_trigger"),
        ("DELETE", "/v1/triggers/none", "unknown_trigger"),
        ("POST", "/v1/triggers/none/start", "unknown_trigger"),
        ("POST", "/v1/triggers/none/dry-run", "unknown_trigger"),
        ("GET", "/v1/triggers/none/firings", "unknown_trigger"),
        ("GET", "/v1/webhooks/none", "unknown_webhook"),
        ("POST", "/v1/webhooks/none/rotate", "unknown_webhook"),
        ("GET", "/v1/deliveries?webhook=none", "unknown_webhook"),
        ("POST", "/v1/deliveries/99999/replay", "unknown_delivery"),
        ("POST", "/v1/messages/none/received", "unknown_delivery"),
    ):
        answer = client.call(method, path, {} if method == "PATCH" else None)
        assert (answer.status, answer.body["code"]) == (404, code), path


def test_a_change_that_began_from_an_older_version_is_refused(client: Client) -> None:
    made = client.post("/v1/triggers", _definition("versioned")).body
    assert made["version"] == 1
    first = client.patch("/v1/triggers/versioned", {"priority": 1, "version": 1})
    assert (first.status, first.body["version"]) == (200, 2)
    late = client.patch("/v1/triggers/versioned", {"priority": 2, "version": 1})
    assert (late.status, late.body["code"]) == (409, "trigger_changed") and "Nothing was overwritten" in late.body[
        "detail"
    ]
    assert client.get("/v1/triggers/versioned").body["priority"] == 1
    assert client.patch("/v1/triggers/versioned", {"priority": 1, "version": 2}).body["version"] == 2  # no change
    assert (
        client.patch("/v1/triggers/versioned", {"priority": 3}).body["version"] == 3
    )  # who names none takes the newest
    assert client.patch("/v1/triggers/versioned", {"version": 0}).body["errors"][0]["path"] == "/version"
    hook = client.post("/v1/webhooks", {"key": "versioned", "url": "https://example.com/a"}).body
    moved = client.patch("/v1/webhooks/versioned", {"url": "https://example.com/b", "version": hook["version"]})
    assert (moved.status, moved.body["version"]) == (200, 2)
    late = client.patch("/v1/webhooks/versioned", {"url": "https://example.com/c", "version": 1})
    assert (late.status, late.body["code"]) == (409, "webhook_changed")
    assert client.get("/v1/webhooks/versioned").body["url"] == "https://example.com/b"
    assert client.call("DELETE", "/v1/webhooks/versioned").status == 200


def test_a_webhook_shows_its_secret_only_when_it_is_created(client: Client) -> None:
    body = {"key": "hooks", "url": "https://example.com/hook"}
    made = _ok(client.post("/v1/webhooks", body), shapes.WebhookSecretAnswer, 201)
    secret = made.pop("secret")
    assert client.post("/v1/webhooks", body).body["code"] == "webhook_exists"
    assert _ok(client.get("/v1/webhooks/hooks"), shapes.WebhookAnswer) == made
    assert _ok(client.get("/v1/webhooks"), shapes.WebhookListAnswer)["webhooks"] == [made]
    rotated = _ok(client.post("/v1/webhooks/hooks/rotate"), shapes.WebhookSecretAnswer)
    assert rotated["secret"] != secret and rotated["secret_version"] == 2
    paused = _ok(client.patch("/v1/webhooks/hooks", {"status": "paused"}), shapes.WebhookAnswer)
    assert (paused["status"], paused["url"]) == ("paused", body["url"])
    assert (
        client.post("/v1/triggers", _definition("hooked", delivery={"to": "webhook", "webhook": "hooks"})).status == 201
    )
    in_use = client.call("DELETE", "/v1/webhooks/hooks")
    assert (in_use.status, in_use.body["code"]) == (409, "webhook_in_use")
    assert client.call("DELETE", "/v1/triggers/hooked").status == 200
    assert client.call("DELETE", "/v1/webhooks/hooks").status == 200


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://127.0.0.1/", "https://u:p@example.com/", "", "x" * 3000]
)
def test_a_webhook_to_a_forbidden_address_is_refused(client: Client, url: str) -> None:
    answer = client.post("/v1/webhooks", {"key": "bad", "url": url})
    assert (answer.status, answer.body["errors"][0]["path"]) == (422, "/url")


def test_deliveries_are_filtered_by_values_that_exist(client: Client) -> None:
    _ok(client.get("/v1/deliveries"), shapes.DeliveryListAnswer)
    _ok(client.get("/v1/deliveries?status=failed&after_id=9223372036854775807"), shapes.DeliveryListAnswer)
    for asked in ("status=lost", "after_id=x", "after_id=9223372036854775808", "limit=0"):
        assert client.get(f"/v1/deliveries?{asked}").status == 422


def test_reading_and_changing_need_their_scopes_and_a_key_of_all_experiments(web: Web, database_url: str) -> None:
    reader, bound = (web.client(make_key(database_url, "read")), web.client(make_key(database_url, experiment="tips")))
    assert reader.get("/v1/triggers").status == 200
    for path in ("/v1/triggers", "/v1/webhooks"):
        body = _definition("x") if path.endswith("triggers") else {"key": "x", "url": "https://example.com/"}
        assert reader.post(path, body).body["code"] == "missing_scope"
        assert bound.post(path, body).body["code"] == "wrong_experiment"
        assert bound.get(path).body["code"] == "wrong_experiment"
    assert bound.get("/v1/deliveries").body["code"] == "wrong_experiment"
