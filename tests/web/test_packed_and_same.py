"""Bodies that came packed, and bodies that are the same although their bytes differ."""

import gzip
import time
import zlib
from typing import Any

import orjson
import pytest

from app.foundation.formats.same_json import canonical, same
from tests.service import BOTH_FRONTS, Client, counts

FRONTS = BOTH_FRONTS
GZIP = {"Content-Encoding": "gzip"}
SMALL = b'{"experiment": "packed", "unit_id": "u", "context": {"x": 1}}'
BOMB = gzip.compress(b" " * 50_000_000)


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make("packed", reward={"window_s": 600, "min": -10, "max": 10})


def test_gzip_is_read_on_the_loop_and_behind_it(client: Client) -> None:
    assert client.post("/v1/decide", gzip.compress(SMALL), **GZIP).status == 201
    assert client.post("/v1/decide", gzip.compress(SMALL[:20]) + gzip.compress(SMALL[20:]), **GZIP).status == 201
    assert client.post("/v1/decide", SMALL, **{"Content-Encoding": "identity"}).status == 201
    answer = client.call("PATCH", "/v1/experiments/packed", gzip.compress(orjson.dumps({"hypothesis": "h"})), **GZIP)
    assert answer.status == 200, answer.raw


REFUSED: dict[str, tuple[bytes, str, int, str]] = {
    "a bomb": (BOMB, "gzip", 413, "request_entity_too_large"),
    "a bomb of parts": (gzip.compress(b" " * 500_000) * 3, "gzip", 413, "request_entity_too_large"),
    "a bomb in a bomb": (gzip.compress(BOMB), "gzip", 400, "malformed_json"),
    "many empty parts": (gzip.compress(b"") * 40_000, "gzip", 400, "malformed_gzip"),
    "no gzip": (SMALL, "gzip", 400, "malformed_gzip"),
    "cut off": (gzip.compress(SMALL)[:-9], "gzip", 400, "malformed_gzip"),
    "zlib": (zlib.compress(SMALL), "gzip", 400, "malformed_gzip"),
    "rubbish behind it": (gzip.compress(SMALL) + b"more", "gzip", 400, "malformed_gzip"),
    "another way": (b"x", "br", 400, "unknown_encoding"),
    "two ways": (gzip.compress(gzip.compress(SMALL)), "gzip, gzip", 400, "unknown_encoding"),
    "not said": (gzip.compress(SMALL), "", 400, "malformed_json"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_unpacked_is_refused_on_both_sides(client: Client, database_url: str, name: str) -> None:
    body, encoding, status, code = REFUSED[name]
    headers = {"Content-Encoding": encoding} if encoding else {}
    before = counts(database_url)
    for path in ("/v1/decide", "/v1/experiments"):
        answer = client.post(path, body, **headers)
        assert (answer.status, answer.body["code"]) == (status, code), answer.raw
    assert counts(database_url) == before
    assert client.decide("packed").status == 201


SAME = [
    ('{"x": 1.0}', '{"x": 1}'),
    ('{"x": 1e0}', '{"x": 1}'),
    ('{"x": -0.0}', '{"x": 0}'),
    ('{"x": 1e16}', '{"x": 10000000000000000}'),
    ('{"x": 9007199254740992.0}', '{"x": 9007199254740992}'),
    ('{"x": {"b": 1, "a": [1.0, {"d": 2, "c": 0.50}]}}', '{"x": {"a": [1, {"c": 0.5, "d": 2.0}], "b": 1e0}}'),
    ('{"x": "\\u00e9"}', '{"x": "é"}'),
]
DIFFERENT = [
    ('{"x": true}', '{"x": 1}'),
    ('{"x": false}', '{"x": 0}'),
    ('{"x": "1"}', '{"x": 1}'),
    ('{"x": [1, 2]}', '{"x": [2, 1]}'),
    ('{"x": "\\u00e9"}', '{"x": "e\\u0301"}'),
    ('{"x": 9007199254740993}', '{"x": 9007199254740992}'),
    ('{"x": null}', "{}"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_values_are_the_same_however_they_are_written(one: str, other: str) -> None:
    assert same(orjson.loads(one), orjson.loads(other)) and canonical(orjson.loads(one)) == canonical(
        orjson.loads(other)
    )


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_that_differ_are_not_the_same(one: str, other: str) -> None:
    assert not same(orjson.loads(one), orjson.loads(other))


def _context(text: str, number: int) -> bytes:
    return f'{{"experiment":"packed","unit_id":"u","decision_id":"same-{number}","context":{text}}}'.encode()


@pytest.mark.parametrize("number", [0, 1, 2, 5, 6])
def test_a_decision_that_another_writer_sends_again_gets_its_answer(client: Client, number: int) -> None:
    one, other = SAME[number]
    first, again = (client.post("/v1/decide", _context(text, number)) for text in (one, other))
    batch = client.post("/v1/decide/batch", b'{"decisions":[' + _context(other, number) + b"]}")
    assert (first.status, again.status) == (201, 200) and again.body == first.body
    assert batch.status in (200, 201) and batch.body["decisions"][0]["action"] == first.body["action"], batch.raw
    assert client.post("/v1/decide", _context('{"x": true}', number)).body["code"] == "decision_id_reused"


def _event(properties: str, more: str = "") -> bytes:
    return f'{{"unit_id":"u","name":"bought","properties":{properties}{more}}}'.encode()


@pytest.mark.parametrize("more", ["", ',"event_id":"own-1"'])
def test_an_event_that_another_writer_sends_again_counts_once(client: Client, more: str) -> None:
    at = ',"occurred_at":"{}"'
    here, there = at.format("2026-01-31T12:00:00Z"), at.format("2026-01-31T14:00:00+02:00")
    first = client.post("/v1/events", _event('{"price": 5.0, "n": -0.0}', more + here))
    again = client.post("/v1/events", _event('{"n": 0, "price": 5}', more + there))
    assert (first.status, again.status) == (201, 200), again.raw
    other = client.post("/v1/events", _event('{"n": false, "price": 5}', more + here))
    assert other.status == (409 if more else 201)


@pytest.mark.parametrize(
    ("first", "again"), [(b"0.0", b"-0.0"), (b"-0", b"0"), (b"5", b"5.0"), (b"1e0", b"1"), (b"10e-1", b"1.0")]
)
def test_a_reward_that_another_writer_sends_again_counts_once(client: Client, first: bytes, again: bytes) -> None:
    decision = client.decide("packed", f"r{time.time_ns()}").body["decision_id"]

    def sent(value: bytes, second: int) -> Any:
        body = b'{"decision_id":"%s","value":%s,"occurred_at":"2026-01-31T12:00:%02dZ"}' % (
            decision.encode(),
            value,
            second,
        )
        return client.post("/v1/reward", body).status

    assert [sent(first, 0), sent(again, 1), sent(first, 2)] == [201, 200, 200]
    batch = b'{"rewards":[{"decision_id":"%s","value":%s}]}' % (decision.encode(), again)
    assert client.post("/v1/rewards/batch", batch).status == 200
