"""Random JSON at every route that takes a body: a documented status, the one error shape, never a 5xx."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from app.foundation.api.problem_schema import Problem
from app.web.app import create_app
from tests.service import BOTH_FRONTS, Loop, bandit, counts, make_key, running_web, runtime_of
from tests.service import settings as settings_of

FRONTS = BOTH_FRONTS
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
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


class App(NamedTuple):
    """One front, however it is asked."""

    post: Callable[[str, bytes], tuple[int, str, bytes]]  # returns status, content type and body
    url: str


@pytest.fixture(scope="module")
def app(database_url: str, front_kind: str) -> Iterator[App]:
    with runtime_of(database_url) as runtime:
        loop = Loop(runtime, database_url)
        loop.make("random", arms=bandit())
        loop.decide("random", [{"decision_id": "known"}])
        key = make_key(database_url)
        if front_kind == "flask":
            headers = {"Authorization": f"Bearer {key}"}
            client = create_app(settings_of(database_url), runtime).test_client()

            def post(path: str, body: bytes) -> tuple[int, str, bytes]:
                answer = client.post(path, data=body, headers=headers)
                return answer.status_code, str(answer.content_type), answer.data

            yield App(post, database_url)
            return
        with running_web(database_url) as web:
            served = web.client(key)

            def call(path: str, body: bytes) -> tuple[int, str, bytes]:
                answer = served.post(path, body)
                return answer.status, str(answer.headers["Content-Type"]), answer.raw

            yield App(call, database_url)


def _send(app: App, path: str, document: Any) -> int:
    """Written with NaN, Infinity, big integers and lone surrogates as Python's lenient writer writes them."""
    before = counts(app.url)
    status, content_type, body = app.post(path, json.dumps(document).encode())
    if status >= 400:
        assert content_type == "application/problem+json"
        Problem.model_validate(orjson.loads(body), strict=True)
        assert status in (400, 404, 409, 422), body
        assert counts(app.url) == before
    return status


@FAST
@given(document=DECIDE | JSON)
def test_random_decides(app: App, document: Any) -> None:
    assert _send(app, "/v1/decide", document) in (200, 201, 400, 404, 409, 422)


@FAST
@given(document=REWARD | JSON)
def test_random_rewards(app: App, document: Any) -> None:
    assert _send(app, "/v1/reward", document) in (200, 201, 400, 404, 409, 422)


@FAST
@given(document=strategies.lists(DECIDE | REWARD, max_size=3))
def test_random_batches(app: App, document: Any) -> None:
    _send(app, "/v1/decide/batch", {"decisions": document})
    _send(app, "/v1/rewards/batch", {"rewards": document})


@FAST
@given(body=strategies.binary(max_size=60))
def test_random_bytes(app: App, body: bytes) -> None:
    assert app.post("/v1/decide", body)[0] in (400, 422)


@FAST
@given(context=strategies.dictionaries(TEXT, TEXT | strategies.integers(-1000, 1000), max_size=5))
def test_a_repeated_decide_gets_the_same_answer(app: App, context: dict[str, Any]) -> None:
    try:
        body = orjson.dumps(
            {"experiment": "random", "unit_id": "u", "decision_id": uuid.uuid4().hex, "context": context}
        )
    except TypeError:
        return  # half of a surrogate pair: no text
    if b"\\u0000" in body:
        return
    (first, _, answer), again = app.post("/v1/decide", body), app.post("/v1/decide", body)
    assert (first, again[0], again[2]) == (201, 200, answer)


@FAST
@given(document=EVENT | strategies.fixed_dictionaries({"events": strategies.lists(EVENT, max_size=3)}) | JSON)
def test_random_events(app: App, document: Any) -> None:
    assert _send(app, "/v1/events", document) in (200, 201, 400, 409, 422)


@FAST
@given(document=TRIGGER | JSON)
def test_random_triggers(app: App, document: Any) -> None:
    assert _send(app, "/v1/triggers/dry-run", document) in (200, 400, 422)
    assert _send(app, "/v1/triggers", document) in (400, 422)  # the experiment has no message
