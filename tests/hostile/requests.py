"""Makes hostile requests: every operation of the OpenAPI document and every page, with values that are nearly right, or wrong."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

Schema = Mapping[str, Any]
TEXTS: Final = (
    "", " ", "a", "known", "learned", "ann", "no-such", "first", "a" * 300, "ä€😀", "\x00", "\ud800", "\r\nX: y",
    "../../etc/passwd",
    "' OR 1=1 --", "<script>alert(1)</script>", "{{ 7 * 7 }}", "{% for x in range(10**9) %}{% endfor %}", "%s%n", "NaN", "1e999",
    "2026-01-01T00:00:00Z", "2026-13-45", "0001-01-01T00:00:00+23:59", "-1", "9" * 40, "true", "null", "[]", "Europe/Berlin",
)  # fmt: skip
NUMBERS: Final = (
    0,
    1,
    -1,
    2,
    3.5,
    -0.0,
    1e-320,
    1e308,
    -1e308,
    2**31,
    2**53 + 1,
    2**63,
    10**30,
    float("nan"),
    float("inf"),
)
PLACES: Final = (
    "known",
    "no-such",
    "1",
    "0",
    "-1",
    "99999999999999999999",
    "first",
    "learned",
    "ann",
    "..",
    "%00",
    "%ff",
    "a" * 300,
    "ä",
    "a b",
)
TYPES: Final = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "",
    "a/b; charset=utf-16",
)
HEADERS: Final = (
    ("If-Match", '"x"'), ("If-None-Match", "*"), ("Range", "bytes=0-"), ("Expect", "100-continue"),
    ("Accept", "application/x-ndjson"),
    ("Accept-Language", "\u00fc" * 50), ("Content-Encoding", "gzip"), ("X-Request-Id", "x" * 500), ("traceparent", "00-zz"),
    ("Cookie", "loopwise=forged; loopwise=again"), ("X-Forwarded-For", "::1, unknown"), ("Origin", "null"),
)  # fmt: skip
# What forms send, and what pages take in their addresses.
FIELDS: Final = sorted(
    {
        name
        for template in (Path(__file__).resolve().parents[2] / "app").rglob("templates/*.html")
        for name in re.findall(r'name="([^"{}]+)"', template.read_text(encoding="utf-8"))
    }
    | {
        "page",
        "q",
        "sort",
        "segment",
        "method",
        "held_out",
        "fragment",
        "/arms/0/share",
        "/actions/0/id",
        "/metrics/0/key",
    }
)
STREAM: Final = "/v1/stream"  # it stays open by design
DEPTH: Final = 6


class Asked(NamedTuple):
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None

    @property
    def told(self) -> str:
        """What to repeat, without keys and cookies."""
        more = {name: value for name, value in self.headers.items() if name not in ("Authorization", "Cookie")}
        return f"{self.method} {self.target} {more} {self.body!r}"


class Hostile:
    """A source of requests, the same for the same seed."""

    def __init__(self, document: Schema, pages: Sequence[tuple[str, str]], seed: int) -> None:
        """:param pages: (method, rule) of every page, where a rule has ``<name>`` or ``<kind:name>`` for a part."""
        self.random, self._schemas = Random(seed), document["components"]["schemas"]
        self._operations = [
            (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in ("get", "post", "put", "patch", "delete") and path != STREAM
        ]
        self._pages = list(pages)

    def call(self, key: str) -> Asked:
        """A call of the API."""
        method, path, operation = self.random.choice(self._operations)
        query = [
            (each["name"], self._text())
            for each in operation.get("parameters", [])
            if each["in"] == "query" and self._rarely(0.4)
        ]
        headers = {"Authorization": f"Bearer {key}"} | self._headers()
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        body = None if schema is None and method == "GET" else self._body(schema or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        return Asked(method, self._target(path, "{", "}", query), headers, body)

    def page(self, cookies: Mapping[str, str], token: str) -> Asked:
        """A page, or a form that is sent to one."""
        method, rule = self.random.choice(self._pages)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} | self._headers()
        pairs = [(self.random.choice(FIELDS), self._text()) for _ in range(self.random.randrange(6))]
        if method == "GET":
            return Asked(method, self._target(rule, "<", ">", pairs), headers, None)
        form = [("csrf_token", token if not self._rarely(0.02) else "x"), *pairs]
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form, errors="replace").encode()
        return Asked(method, self._target(rule, "<", ">", []), headers, body)

    def _target(self, path: str, left: str, right: str, query: list[tuple[str, str]]) -> str:
        parts = []
        for part in path.split("/"):
            filled = left in part and right in part
            place = self.random.choice(PLACES) if self._rarely(0.5) else "known"
            parts.append(
                part[: part.index(left)] + quote(place, safe="%") + part[part.rindex(right) + 1 :] if filled else part
            )
        asked = urlencode(query, errors="replace")
        return "/".join(parts) + (f"?{asked}" if asked else "")

    def _headers(self) -> dict[str, str]:
        more = {}
        if self._rarely(0.1):
            name, value = self.random.choice(HEADERS)
            more[name] = value.encode("utf-8").decode("latin-1")
        if self._rarely(0.05):
            more["Content-Type"] = self.random.choice(TYPES)
        return more

    def _body(self, schema: Schema) -> bytes:
        if self._rarely(0.05):
            return self.random.randbytes(self.random.randrange(200))
        if self._rarely(0.03):
            return self.random.choice(
                (b"", b"[" * 5000, b'{"a":' * 3000, b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b'"\\ud800"', b"1" * 5000)
            )
        return json.dumps(self._value(schema, DEPTH)).encode()

    def _value(self, schema: Schema, depth: int) -> Any:
        """A value that fits a schema, but for some places."""
        if self._rarely(0.04):
            return self._anything(2)
        if "$ref" in schema:
            return self._value(self._schemas[schema["$ref"].rpartition("/")[2]], depth)
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._value(self.random.choice(schema[several]), depth)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else self.random.choice(schema["enum"])
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        if kind == "array":
            least, count = schema.get("minItems", 0), self.random.choice((0, 1, 2, 3))
            return [self._value(schema.get("items", {}), depth - 1) for _ in range(max(least, count))] if depth else []
        return self._plain(schema)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        properties = schema.get("properties", {})
        chosen = [name for name in properties if name in required or (depth > 0 and self._rarely(0.3))]
        made = {name: self._value(properties[name], depth - 1) for name in chosen}
        if schema.get("additionalProperties") and self._rarely(0.5):
            made[self._text()] = self._anything(2)
        return made

    def _plain(self, schema: Schema) -> Any:
        kind = schema.get("type")
        if kind == "string":
            return (
                self.random.choice(("known", "learned", "a", "b", "ann", "first"))
                if self._rarely(0.6)
                else self._text()
            )
        if kind in ("integer", "number"):
            low, high = schema.get("minimum", 0), schema.get("maximum", 100)
            near = self.random.choice((low, high, low - 1, high + 1, 1, 0.5 if kind == "number" else 2))
            return near if self._rarely(0.7) else self.random.choice(NUMBERS)
        return self._rarely(0.5) if kind == "boolean" else None if kind == "null" else self._anything(2)

    def _anything(self, depth: int) -> Any:
        kind = self.random.randrange(6 if depth else 4)
        if kind < 2:
            return self._text() if kind else self.random.choice(NUMBERS)
        if kind < 4:
            return self.random.choice((None, True, False, {}, []))
        inner = [self._anything(depth - 1) for _ in range(self.random.randrange(4))]
        return inner if kind == 4 else {self._text(): value for value in inner}

    def _text(self) -> str:
        return self.random.choice(TEXTS)

    def _rarely(self, chance: float) -> bool:
        return self.random.random() < chance
