"""Malformed bodies: refused with the same shape of error, nothing stored, the server alive."""

import socket
from typing import Any

import orjson
import pytest

from app.foundation.api.problem_schema import Problem
from app.foundation.api.problems import HTTP_CODES
from app.foundation.errors import CODES
from tests.service import BOTH_FRONTS, Answer, Client, bandit, counts

FRONTS = BOTH_FRONTS

_DEEP = b'{"experiment": "json", "unit_id": "u", "context": {"x": ' + b"[" * 31 + b"1" + b"]" * 31 + b"}}"
_DEEP_ENOUGH = b'{"experiment": "json", "unit_id": "u", "context": {"x": ' + b"[" * 30 + b"1" + b"]" * 30 + b"}}"


def _body(context: bytes, rest: bytes = b"") -> bytes:
    return b'{"experiment": "json", "unit_id": "u"' + rest + b', "context": ' + context + b"}"


BODIES = {
    "empty": (b"", 400, "malformed_json"),
    "cut": (b'{"experiment": "json"', 400, "malformed_json"),
    "words": (b"decide, please", 400, "malformed_json"),
    "two documents": (b"{}{}", 400, "malformed_json"),
    "single quotes": (b"{'experiment': 'json'}", 400, "malformed_json"),
    "trailing comma": (_body(b'{"a": 1,}'), 400, "malformed_json"),
    "comment": (_body(b"{} /* none */"), 400, "malformed_json"),
    "byte order mark": (b"\xef\xbb\xbf" + _body(b"{}"), 400, "malformed_json"),
    "UTF-16": (_body(b"{}").decode().encode("utf-16"), 400, "malformed_json"),
    "invalid UTF-8": (_body(b'{"a": "\xff"}'), 400, "malformed_json"),
    "surrogate in UTF-8": (_body(b'{"a": "\xed\xa0\x80"}'), 400, "malformed_json"),
    "lone surrogate": (_body(b'{"a": "\\ud800"}'), 400, "malformed_json"),
    "lone low surrogate in a key": (_body(b'{"\\udc00": 1}'), 400, "malformed_json"),
    "raw NUL": (_body(b'{"a": "\x00"}'), 400, "malformed_json"),
    "NUL in a value": (_body(b'{"a": "x\\u0000"}'), 400, "nul_character"),
    "NUL in a key": (_body(b'{"\\u0000": 1}'), 400, "nul_character"),
    "NUL deep in a list": (_body(b'{"a": [1, [{"b": ["\\u0000"]}]]}'), 400, "nul_character"),
    "NaN": (_body(b'{"a": NaN}'), 400, "malformed_json"),
    "Infinity": (_body(b'{"a": -Infinity}'), 400, "malformed_json"),
    "1e400": (_body(b'{"a": 1e400}'), 400, "malformed_json"),
    "an integer beyond float64": (_body(b'{"a": 1' + b"0" * 400 + b"}"), 400, "malformed_json"),
    "an integer beyond float64, with an escape": (_body(b'{"\\u0061": 1' + b"0" * 5000 + b"}"), 400, "malformed_json"),
    "a huge integer": (_body(b'{"a": 123456789012345678901234567890}'), 422, "invalid_value"),
    "duplicate key": (_body(b'{"a": 1, "a": 2}'), 400, "duplicate_key"),
    "duplicate key with equal values": (_body(b'{"a": 1, "a": 1}'), 400, "duplicate_key"),
    "duplicate key at the top": (_body(b"{}", b', "unit_id": "v"'), 400, "duplicate_key"),
    "duplicate key, nested": (_body(b'{"x": [{"b": {"a": 1, "a": {"c": 2}}}]}'), 400, "duplicate_key"),
    "duplicate key, one escaped": (_body(b'{"a": 1, "\\u0061": 2}'), 400, "duplicate_key"),
    "duplicate key hidden by an escaped colon": (_body(b'{"a": 1, "a": "\\u003a"}'), 400, "duplicate_key"),
    "duplicate key hidden by colons": (_body(b'{"a": ":::", "a": 1, "b": ":"}'), 400, "duplicate_key"),
    "too deep": (_DEEP, 400, "too_deep"),
    "far too deep": (_body(b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}"), 400, "too_deep"),
    "far too deep, with an escape": (_body(b'{"\\u0061": ' + b"[" * 990 + b"]" * 990 + b"}"), 400, "too_deep"),
    "absurdly deep": (b"[" * 500_000, 400, "malformed_json"),
    "list": (b"[]", 422, "invalid_value"),
    "list of objects": (b'[{"experiment": "json"}]', 422, "invalid_value"),
    "null": (b"null", 422, "invalid_value"),
    "number": (b"1", 422, "invalid_value"),
    "true": (b"true", 422, "invalid_value"),
    "string": (b'"x"', 400, "not_an_object"),
    "JSON in a string": (b'"{\\"experiment\\": \\"json\\"}"', 400, "not_an_object"),
    "empty object": (b"{}", 422, "invalid_value"),
}
FORGIVEN = {
    "as deep as allowed": _DEEP_ENOUGH,
    "an escaped backslash before u0000": _body(b'{"a": "\\\\u0000"}'),
    "a colon in every place": _body(b'{"a:b": ":::", "c": "\\u003a"}'),
    "keys that differ in case": _body(b'{"a": 1, "A": 2}'),
    "a surrogate pair": _body(b'{"a": "\\ud83d\\ude00"}'),
    "white space around": b" \n\t" + _body(b"{ }") + b"\r\n ",
    "a negative zero and a tiny number": _body(b'{"a": -0.0, "b": 1e-400}'),
}


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make("json", arms=bandit())


def _refused(answer: Answer, status: int, code: str | None = None) -> dict[str, Any]:
    assert answer.status == status, answer.raw
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = Problem.model_validate(answer.body, strict=True, extra="forbid")
    assert problem.status == status
    assert problem.code in CODES | HTTP_CODES, f"{problem.code} is explained nowhere"
    assert problem.type == f"/docs/errors#{problem.code}"
    assert code in (None, problem.code)
    return dict(answer.body)


def _alive(client: Client) -> None:
    assert client.decide("json").status == 201


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_everywhere_and_nothing_is_stored(client: Client, database_url: str, name: str) -> None:
    body, status, code = BODIES[name]
    before = counts(database_url)
    for path in ("/v1/decide", "/v1/decide/batch", "/v1/reward", "/v1/rewards/batch"):
        _refused(client.post(path, body), status, code)
    assert counts(database_url) == before
    _alive(client)


@pytest.mark.parametrize("name", FORGIVEN)
def test_bodies_that_only_look_bad_are_accepted(client: Client, name: str) -> None:
    answer = client.post("/v1/decide", FORGIVEN[name])
    assert answer.status == 201, answer.raw


@pytest.mark.parametrize(
    "path",
    [
        "/v1/experiments",
        "/v1/experiments/json",
        "/v1/experiments/json/conclude",
        "/v1/experiments/json/policy/rollback",
    ],
)
@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"{", b'{"conclusion": 5}', b'{"unknown": 1}'])
def test_bad_bodies_for_product_managers_routes(client: Client, database_url: str, path: str, body: bytes) -> None:
    before = counts(database_url)
    answer = client.call("PATCH" if path.endswith("/json") else "POST", path, body)
    assert answer.status in (400, 422)
    _refused(answer, answer.status)
    assert counts(database_url) == before


def test_any_content_type_is_read_as_json(client: Client) -> None:
    body = orjson.dumps({"experiment": "json", "unit_id": "u"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", ""):
        assert client.post("/v1/decide", body, **{"Content-Type": kind}).status == 201


@pytest.mark.parametrize("path", ["/v1/decide", "/personalizer/v1.0/rank", "/v1/experiments"])
def test_a_body_over_the_limit_is_413_and_says_the_limit(client: Client, database_url: str, path: str) -> None:
    before = counts(database_url)
    answer = client.post(path, b'{"x": "' + b"y" * 1_048_576 + b'"}')
    assert answer.status == 413
    assert b"1048576" in answer.raw
    if not path.startswith("/personalizer"):
        _refused(answer, 413)
    assert counts(database_url) == before
    _alive(client)


def test_a_body_of_just_the_limit_is_read(client: Client) -> None:
    start, end = b'{"experiment": "json", "unit_id": "u", "context": {"x": "', b'"}}'
    assert client.post("/v1/decide", start + b"y" * (1_048_576 - len(start) - len(end)) + end).status == 201


def test_a_chunked_body_is_read_and_over_the_limit_refused(client: Client) -> None:
    small = [b'{"experiment": "json", ', b'"unit_id": "u"}']
    assert _chunked(client, small).startswith(b"HTTP/1.1 201")
    assert _chunked(client, [b" " * 65_536] * 17).startswith(b"HTTP/1.1 413")
    _alive(client)


def _chunked(client: Client, parts: list[bytes]) -> bytes:
    head = (
        f"POST /v1/decide HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.key}\r\nTransfer-Encoding: chunked\r\n"
    )
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n")
        try:
            for part in parts:
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            connection.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the server refused the body before its end
        return connection.recv(65_536)


@pytest.mark.parametrize(
    "cut", [b"GET / HTTP/9.9\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n", b"POST /v1/decide HTTP/1.1\r\n"]
)
def test_the_server_survives_requests_that_are_not_http(client: Client, cut: bytes) -> None:
    with socket.create_connection(("127.0.0.1", client.port), 5) as connection:
        connection.sendall(cut)
    _alive(client)


def test_a_route_that_does_not_exist_is_404_and_a_wrong_method_keeps_allow(client: Client) -> None:
    _refused(client.get("/v1/nothing"), 404)
    answer = client.get("/v1/decide")
    _refused(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_nul_in_an_address_is_refused(client: Client) -> None:
    for path in ("/v1/experiments/%00", "/v1/decisions/a%00b/activate", "/v1/experiments?after=%00", "/%00"):
        answer = client.post(path) if path.endswith("activate") else client.get(path)
        _refused(answer, 400, "nul_character")


def test_odd_addresses_are_refused(client: Client) -> None:
    for path in ("/v1/experiments/%ff%fe", "/v1/experiments/..%2f..", "/v1/experiments/" + "x" * 5000):
        _refused(client.get(path), 404)
    for page in ("limit=0", "limit=1001", "limit=x", "after=-1", f"after={2**63}", f"after={'9' * 400}"):
        _refused(client.get(f"/v1/experiments?{page}"), 422)
