"""Reads request bodies as strict JSON: no duplicate keys, no NaN, no numbers beyond float64, bounded size and depth.

A lenient parser keeps the last of two equal keys; a body that a person reads one way would then be logged another way.
"""

import json
from typing import Any

import orjson
from flask import Request, current_app
from werkzeug.exceptions import RequestEntityTooLarge

from app.foundation.errors import BadRequest
from app.foundation.fields import JsonObject


class DuplicateKey(ValueError):
    """Two equal keys in one object."""


def parse(body: bytes, max_depth: int) -> Any:
    """One JSON document.

    :raises BadRequest: saying what is wrong and where.
    """
    # Counted first, because writing a document with orjson, or reading it with json, ends at depths that reading allows.
    nests = body.count(b"{") + body.count(b"[") > max_depth
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("malformed_json", f"The body is not JSON: {error}.") from None
    if nests and _depth(document) > max_depth:
        raise BadRequest("too_deep", f"The body nests deeper than {max_depth} levels; flatten it.")
    plain = orjson.dumps(document)
    # Written again, a document has as many colons as before, unless a key was dropped or a colon was escaped.
    if b"\\u" in body or plain.count(b":") != body.count(b":"):
        _check_slowly(body)
    if b"\\u0000" in plain and _holds_nul(document):
        raise BadRequest("nul_character", "A text in the body holds the character NUL (\\u0000); remove it.")
    return document


def _check_slowly(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_unique)
    except DuplicateKey as error:
        raise BadRequest("duplicate_key", f"The key {error} stands twice in one object; keep one.") from None


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise DuplicateKey(repr(next(key for key in keys if keys.count(key) > 1)))
    return found


def _depth(document: object) -> int:
    level, depth = [document], 0
    while level:
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [value for item in nested for value in (item.values() if isinstance(item, dict) else item)]
        depth += bool(nested)
    return depth


def _holds_nul(item: Any) -> bool:
    if isinstance(item, dict):
        return any("\0" in key or _holds_nul(value) for key, value in item.items())
    if isinstance(item, list):
        return any(map(_holds_nul, item))
    return isinstance(item, str) and "\0" in item


class StrictRequest(Request):
    """A request whose JSON is read by ``parse``, whatever content type it names."""

    document: object = None  # the parsed body, once it was asked for

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """The parsed body; the parameters are werkzeug's and change nothing."""
        body = self.get_data()
        # A chunked body has no length to refuse it by, and werkzeug cuts it off at the limit without a word.
        if self.content_length is None and len(body) == self.max_content_length and self.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        self.document = parse(body, current_app.config["MAX_JSON_DEPTH"])
        if isinstance(self.document, str):  # flask-openapi would parse a JSON string once more
            raise BadRequest("not_an_object", "The body is a JSON string; send an object.")
        return self.document
