"""Messages that units fetch themselves: polled, or over a stream that ends, continues, and takes few threads."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from app.accounts import unit_tokens
from app.accounts.keys import create_key
from app.messaging.api.events import PendingAnswer, ReceivedAnswer
from tests.service import SECRET, Client, Web, engine_of, make_key, query, running_web, wait_for

SHOP = "https://shop.example"
MESSAGE = {"locale": "en", "channel": "in_app", "title": "", "body": "Hello", "call_to_action": ""}


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make("tips")


def _hold(database_url: str, unit_id: str, name: str, experiment: str = "tips", age: str = "0") -> int:
    """A message that is held for a unit, as a firing leaves it; returns the delivery's id."""
    statement = """
        INSERT INTO deliveries (decision_id, experiment_id, unit_id, message, status, created_at)
        SELECT %s, id, %s, %s, 'waiting', clock_timestamp() - CAST(%s AS interval) FROM experiments WHERE key = %s
        RETURNING id
    """
    values = (name, unit_id, orjson.dumps(MESSAGE | {"body": name}).decode(), age, experiment)
    return int(query(database_url, statement, *values)[0][0])


def _pending(client: Client, unit_id: str) -> list[str]:
    answer = client.get(f"/v1/messages/pending?unit_id={unit_id}")
    assert answer.status == 200, answer.raw
    PendingAnswer.model_validate(answer.body, strict=True, extra="forbid")
    return [message["decision_id"] for message in answer.body["messages"]]


class Stream:
    """An open stream, read line by line."""

    def __init__(
        self, port: int, bearer: str | None, headers: dict[str, str] | None = None, timeout_s: float = 60, **asked: Any
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        sent = ({"Authorization": f"Bearer {bearer}"} if bearer else {}) | (headers or {})
        self._connection.request("GET", f"/v1/stream?{urlencode(asked)}", headers=sent)
        self.response = self._connection.getresponse()

    def event(self) -> dict[str, str] | None:
        """The next block of lines as fields; a comment is empty, null is the end."""
        fields = {}
        while line := self.response.readline().decode().rstrip("\n") if (raw := self._peek()) else "":
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        return fields if raw else None

    def message(self) -> dict[str, Any]:
        """The next message."""
        while (fields := self.event()) is not None:
            if "data" in fields:
                document = dict(orjson.loads(fields["data"]))
                assert fields["id"] == str(document["delivery_id"])
                return document
        raise AssertionError("the stream ended")

    def _peek(self) -> bool:
        return bool(self.response.peek(1))

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _stream(web: Web, bearer: str | None, **asked: Any) -> Iterator[Stream]:
    made = Stream(web.port, bearer, **asked)
    try:
        assert made.response.status == 200, made.response.read()
        yield made
    finally:
        made.close()


def test_held_messages_are_polled_newest_first_until_they_are_received(client: Client, database_url: str) -> None:
    for name in ("p-1", "p-2", "p-3"):
        _hold(database_url, "poller", name)
    assert _pending(client, "poller") == ["p-3", "p-2", "p-1"]
    answer = client.post("/v1/messages/p-2/received")
    ReceivedAnswer.model_validate(answer.body, strict=True, extra="forbid")
    assert answer.body == {"decision_id": "p-2", "status": "delivered", "received": True}
    assert client.post("/v1/messages/p-2/received").body["received"] is False
    assert _pending(client, "poller") == ["p-3", "p-1"]
    assert query(database_url, "SELECT status, finished_at IS NULL FROM deliveries WHERE decision_id = 'p-2'") == [
        ("delivered", False)
    ]


def test_polling_leaves_out_old_messages_and_limits_the_number_of_new_ones(client: Client, database_url: str) -> None:
    _hold(database_url, "many", "old", age="8 days")
    for n in range(60):
        _hold(database_url, "many", f"many-{n}")
    assert _pending(client, "many") == [f"many-{n}" for n in range(59, 9, -1)]


def test_a_unit_that_no_longer_wants_messages_gets_none(client: Client, web: Web, database_url: str) -> None:
    _hold(database_url, "revoker", "unwanted")
    assert _pending(client, "revoker") == ["unwanted"]
    query(database_url, "INSERT INTO restrictions VALUES ('revoker', ARRAY['message'])")
    assert _pending(client, "revoker") == []
    with _stream(web, client.key, unit_id="revoker") as stream:
        assert stream.event() == {"retry": "3000"}
        query(database_url, "DELETE FROM restrictions WHERE unit_id = 'revoker'")
        _hold(database_url, "revoker", "wanted")
        assert [stream.message()["decision_id"] for _ in range(2)] == ["unwanted", "wanted"]


def test_a_stream_sends_held_messages_first_and_then_new_ones(client: Client, web: Web, database_url: str) -> None:
    first = _hold(database_url, "listener", "s-1")
    with _stream(web, client.key, unit_id="listener") as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["Cache-Control"] == "no-store"
        message = stream.message()
        assert (message["delivery_id"], message["message"]["body"]) == (first, "s-1")
        _hold(database_url, "somebody-else", "not-mine")
        _hold(database_url, "listener", "s-2")
        assert stream.message()["decision_id"] == "s-2"


def test_a_stream_continues_after_the_last_event_id(client: Client, web: Web, database_url: str) -> None:
    ids = [_hold(database_url, "resumer", f"r-{n}") for n in range(3)]
    with _stream(web, client.key, headers={"Last-Event-ID": str(ids[0])}, unit_id="resumer") as stream:
        assert [stream.message()["decision_id"] for _ in range(2)] == ["r-1", "r-2"]
    with _stream(web, client.key, unit_id="resumer", last_event_id=ids[1]) as stream:
        assert stream.message()["decision_id"] == "r-2"
    for wrong in ("x", "-1", "9" * 30):
        refused = client.get("/v1/stream?unit_id=resumer", **{"Last-Event-ID": wrong})
        assert refused.status == 422, refused.raw
    assert client.get("/v1/stream?unit_id=resumer&last_event_id=x").status == 422
    assert client.get("/v1/stream").status == 422


def test_a_key_bound_to_an_experiment_gets_messages_of_that_experiment_only(
    client: Client, web: Web, database_url: str
) -> None:
    client.make("other")
    _hold(database_url, "bound", "of-tips")
    _hold(database_url, "bound", "of-other", experiment="other")
    key = make_key(database_url, "decide", "reward", experiment="other")
    assert _pending(web.client(key), "bound") == ["of-other"]
    assert web.client(key).post("/v1/messages/of-tips/received").body["code"] == "unknown_delivery"
    assert _pending(client, "bound") == ["of-other", "of-tips"]
    with _stream(web, key, unit_id="bound") as stream:
        assert stream.message()["decision_id"] == "of-other"
        _hold(database_url, "bound", "of-tips-again")
        _hold(database_url, "bound", "of-other-again", experiment="other")
        assert stream.message()["decision_id"] == "of-other-again"


def test_a_browser_passes_its_publishable_key_and_unit_token_in_the_address(web: Web, database_url: str) -> None:
    with engine_of(database_url) as engine:
        key = create_key(engine, scopes=["decide", "reward"], origins=[SHOP]).secret_text
    _hold(database_url, "visitor", "for-visitor")
    token = unit_tokens.make(SECRET, "visitor", 600)
    page = {"Origin": SHOP}
    with _stream(web, None, headers=page, unit_id="visitor", key=key, unit_token=token) as stream:
        assert stream.message()["decision_id"] == "for-visitor"
        assert stream.response.headers["Access-Control-Allow-Origin"] == SHOP

    def status(headers: dict[str, str], **asked: str) -> int:
        made = Stream(web.port, None, headers=headers, **asked)
        made.close()
        return made.response.status

    assert status(page, unit_id="somebody-else", key=key, unit_token=token) == 403
    assert status(page, unit_id="visitor", key=key) == 403
    assert status({}, unit_id="visitor", key=key, unit_token=token) == 403
    secret = make_key(database_url, "decide")
    assert status({}, unit_id="visitor", key=secret) == 401
    browser = web.client(key)
    browser.headers = page
    assert browser.post("/v1/messages/for-visitor/received").body["code"] == "unit_token_needed"
    browser.headers = page | {"Loopwise-Unit-Token": token}
    assert browser.post("/v1/messages/for-visitor/received").status == 200
    assert browser.post("/v1/events", {"unit_id": "visitor", "name": "seen"}).status == 201
    assert browser.post("/v1/events", {"unit_id": "somebody-else", "name": "seen"}).status == 403
    in_address = web.client().get(f"/v1/messages/pending?unit_id=visitor&key={secret}")
    assert in_address.status == 401  # only the stream takes a key there


def test_streams_use_a_quarter_of_the_threads_and_further_streams_end_at_once(database_url: str) -> None:
    with running_web(database_url, LOOPWISE_WEB_THREADS="8") as web:
        client = web.client(make_key(database_url))
        _hold(database_url, "third", "already-there")
        with _stream(web, client.key, unit_id="one") as first, _stream(web, client.key, unit_id="two") as second:
            assert first.event() == second.event() == {"retry": "3000"}
            with _stream(web, client.key, unit_id="third") as third:
                assert third.event() == {"retry": "3000"}
                assert third.message()["decision_id"] == "already-there"
                assert third.event() is None
            assert client.decide("tips").status == 201
        wait_for(lambda: _has_place(web, client), 60, "a place, after two listeners left")


def _has_place(web: Web, client: Client) -> bool:
    """A stream above the limit ends after its first lines."""
    stream = Stream(web.port, client.key, timeout_s=3, unit_id="later")
    try:
        while stream.event() is not None:
            pass
    except TimeoutError:
        return True
    finally:
        stream.close()
    return False


def test_a_stream_ends_by_itself_and_a_server_with_listeners_stops(database_url: str) -> None:
    with running_web(database_url) as web:
        client = web.client(make_key(database_url))
        with _stream(web, client.key, unit_id="patient") as stream:
            began = time.monotonic()
            comments = 0
            while (fields := stream.event()) is not None:
                comments += fields == {}
            assert 20 < time.monotonic() - began < 55
            assert comments >= 2
        with _stream(web, client.key, unit_id="patient"):
            assert web.process is not None
            web.process.terminate()
            web.process.wait(30)


def test_messages_of_two_experiments_may_have_the_same_id(client: Client, web: Web, database_url: str) -> None:
    client.make("twin")
    for experiment in ("tips", "twin"):
        _hold(database_url, "twins", "held-by-both", experiment=experiment)
    assert _pending(client, "twins") == ["held-by-both", "held-by-both"]
    ambiguous = client.post("/v1/messages/held-by-both/received")
    assert (ambiguous.status, ambiguous.body["code"]) == (409, "decision_id_ambiguous")
    key = make_key(database_url, "decide", "reward", experiment="twin")
    assert web.client(key).post("/v1/messages/held-by-both/received").body["received"] is True
    assert web.client(key).post("/v1/messages/held-by-both/received").body["received"] is False
    assert web.client(key).post("/v1/messages/held-by-both/received?experiment=tips").body["code"] == "unknown_delivery"
    assert _pending(client, "twins") == ["held-by-both"]
    assert client.post("/v1/messages/held-by-both/received?experiment=tips").body["received"] is True
    assert _pending(client, "twins") == []
