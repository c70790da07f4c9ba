"""Random JSON at every route that takes a body: a documented status, the one error shape, never a 5xx."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings, strategies

from app.foundation.api.problem_schema import Problem
from app.web.app import create_app
from tests.service import Loop, bandit, counts, make_key, runtime_of
from tests.service import settings as settings_of

TEXT = strategies.text(strategies.characters(), max_size=12)
NUMBERS = strategies.integers() | strategies.floats(allow_nan=True, allow_infinity=True)
JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | NUMBERS | TEXT,
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ACTIONS = strategies.lists(
    strategies.fixed_dictionaries({"id": TEXT | JSON}, optional={"features": JSON, "payload": JSON})
)
DECIDE = strategies.fixed_dictionaries(
    {"experiment": strategies.just("random") | TEXT, "unit_id": TEXT | JSON},
    optional={
        "context": strategies.dictionaries(TEXT, JSON, max_size=4) | JSON,
        "actions": ACTIONS | JSON,
        "excluded_actions": strategies.lists(TEXT) | JSON,
        "decision_id": TEXT | JSON,
        "defer_activation": JSON,
    },
)
REWARD = strategies.fixed_dictionaries(
    {"decision_id": strategies.just("known") | TEXT | JSON, "value": NUMBERS | JSON},
    optional={"reward_id": TEXT | JSON, "metric": TEXT | JSON, "occurred_at": strategies.datetimes().map(str) | JSON},
)
EVENT = strategies.fixed_dictionaries(
    {"unit_id": TEXT | JSON, "name": strategies.just("done") | TEXT},
    optional={
        "properties": strategies.dictionaries(TEXT, JSON, max_size=4) | JSON,
        "event_id": TEXT,
        "occurred_at": JSON,
    },
)
CONDITION = strategies.fixed_dictionaries(
    {"is": strategies.sampled_from(["eq", "gt", "in", "exists"]) | JSON, "value": JSON},
    optional={"property": TEXT, "profile": strategies.just({"event": "done", "window_s": 60}) | JSON},
)
PATTERNS = strategies.sampled_from(
    [
        {"type": "event", "event": "done"},
        {"type": "count", "event": "done", "count": 2, "window_s": 60},
        {"type": "absence", "event": "done", "for_s": 60},
        {"type": "milestone", "event": "done", "property": "a.b", "at_least": 1},
    ]
)
TRIGGER = strategies.fixed_dictionaries(
    {
        "key": TEXT,
        "experiment": strategies.just("random") | JSON,
        "pattern": PATTERNS | JSON,
        "delivery": strategies.just({"to": "unit"}) | JSON,
    },
    optional={
        "conditions": strategies.lists(CONDITION, max_size=3),
        "variables": JSON,
        "delay_s": JSON,
        "priority": JSON,
    },
)
FAST = settings(
    max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def app(database_url: str) -> Iterator[tuple[FlaskClient, dict[str, str], str]]:
    with runtime_of(database_url) as runtime:
        loop = Loop(runtime, database_url)
        loop.make("random", arms=bandit())
        loop.decide("random", [{"decision_id": "known"}])
        headers = {"Authorization": f"Bearer {make_key(database_url)}"}
        yield create_app(settings_of(database_url), runtime).test_client(), headers, database_url


def _send(app: Any, path: str, document: Any) -> int:
    """Written with NaN, Infinity, big integers and lone surrogates as Python's lenient writer writes them."""
    import json

    client, headers, url = app
    before = counts(url)
    answer = client.post(path, data=json.dumps(document).encode(), headers=headers)
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        Problem.model_validate(orjson.loads(answer.data), strict=True)
        assert answer.status_code in (400, 404, 409, 422), answer.data
        assert counts(url) == before
    return int(answer.status_code)


@FAST
@given(document=DECIDE | JSON)
def test_random_decides(app: Any, document: Any) -> None:
    assert _send(app, "/v1/decide", document) in (200, 201, 400, 404, 409, 422)


@FAST
@given(document=REWARD | JSON)
def test_random_rewards(app: Any, document: Any) -> None:
    assert _send(app, "/v1/reward", document) in (200, 201, 400, 404, 409, 422)


@FAST
@given(document=strategies.lists(DECIDE | REWARD, max_size=3))
def test_random_batches(app: Any, document: Any) -> None:
    _send(app, "/v1/decide/batch", {"decisions": document})
    _send(app, "/v1/rewards/batch", {"rewards": document})


@FAST
@given(body=strategies.binary(max_size=60))
def test_random_bytes(app: Any, body: bytes) -> None:
    client, headers, _ = app
    assert client.post("/v1/decide", data=body, headers=headers).status_code in (400, 422)


@FAST
@given(context=strategies.dictionaries(TEXT, TEXT | strategies.integers(-1000, 1000), max_size=5))
def test_a_repeated_decide_gets_the_same_answer(app: Any, context: dict[str, Any]) -> None:
    import uuid

    client, headers, _ = app
    try:
        body = orjson.dumps(
            {"experiment": "random", "unit_id": "u", "decision_id": uuid.uuid4().hex, "context": context}
        )
    except TypeError:
        return  # half of a surrogate pair: no text
    if b"\\u0000" in body:
        return
    first, second = (client.post("/v1/decide", data=body, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code, second.data) == (201, 200, first.data)


@FAST
@given(document=EVENT | strategies.fixed_dictionaries({"events": strategies.lists(EVENT, max_size=3)}) | JSON)
def test_random_events(app: Any, document: Any) -> None:
    assert _send(app, "/v1/events", document) in (200, 201, 400, 409, 422)


@FAST
@given(document=TRIGGER | JSON)
def test_random_triggers(app: Any, document: Any) -> None:
    assert _send(app, "/v1/triggers/dry-run", document) in (200, 400, 422)
    assert _send(app, "/v1/triggers", document) in (400, 422)  # the experiment has no message
