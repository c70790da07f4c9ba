"""JSON, read strictly: bodies of requests, and what people type into forms.

A lenient parser keeps the last of two equal keys; a document that a person reads one way would then be logged another way.
NUL, halves of surrogate pairs, NaN and numbers beyond float64 cannot be stored, so they are refused here.
"""

import json
import math
from typing import Any

import orjson

from app.foundation.errors import BadRequest
from app.foundation.fields import JsonObject

_NESTS = (dict, list)
MAX_TYPED_DEPTH = 24  # the whole definition nests a little deeper


class RepeatedKey(ValueError):
    """Two equal keys in one object; its text is the key in quotes."""


def parse(body: bytes, max_depth: int) -> Any:
    """The JSON document that a body holds.

    :raises BadRequest: its message says what is wrong and where.
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
        _check_keys(body)
    if b"\\u0000" in plain and _holds_nul(document):
        raise BadRequest("nul_character", "A text in the body holds the character NUL (\\u0000); remove it.")
    return document


def parse_body(body: bytes, max_depth: int) -> Any:
    """The document of a request. Raises as ``parse`` does, and for a bare text, which no route takes."""
    document = parse(body, max_depth)
    if isinstance(document, str):  # flask-openapi would parse it once more
        raise BadRequest("not_an_object", "The body is a JSON string; send an object.")
    return document


def read_typed(text: str) -> tuple[Any, str | None]:
    """The document that a person typed, or what is wrong with it, as the rest of a sentence."""
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        return None, f"this is not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}"
    except RepeatedKey as error:
        return None, f"the name {error} appears twice in one object; keep one of them"
    except (RecursionError, ValueError):
        return None, "this cannot be read as JSON: it nests too deep, or holds a number of thousands of digits"
    if _depth(document) > MAX_TYPED_DEPTH:
        return None, f"this nests deeper than {MAX_TYPED_DEPTH} levels; flatten it"
    if _holds_nul(document):
        return None, "a text holds the character NUL (\\u0000); remove it"
    problem = next((problem for value in _leaves(document) if (problem := _unstorable(value))), None)
    return (None, problem) if problem else (document, None)


def _check_keys(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_unique)
    except RepeatedKey as error:
        raise BadRequest("duplicate_key", f"The key {error} appears twice in one object; keep one of them.") from None


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKey(repr(next(key for key in keys if keys.count(key) > 1)))
    return result


def _depth(document: object) -> int:
    nested: list[Any] = [document] if type(document) in _NESTS else []
    depth = 0
    while nested:
        depth += 1
        levels = [item.values() if type(item) is dict else item for item in nested]
        nested = [value for level in levels for value in level if type(value) in _NESTS]
    return depth


def _holds_nul(item: object) -> bool:
    if isinstance(item, dict):
        return any("\0" in key or _holds_nul(value) for key, value in item.items())
    if isinstance(item, list):
        return any(map(_holds_nul, item))
    return isinstance(item, str) and "\0" in item


def _leaves(document: object) -> list[object]:
    """Every key, text, number and constant of a document."""
    if isinstance(document, dict):
        return [*document, *(leaf for value in document.values() for leaf in _leaves(value))]
    if isinstance(document, list):
        return [leaf for value in document for leaf in _leaves(value)]
    return [document]


def _unstorable(value: object) -> str | None:
    """Why the database or an app could not hold a value that Python's lenient reader took."""
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        return "a text holds half of a surrogate pair (\\ud800 to \\udfff); remove it"
    too_large = isinstance(value, int) and not -(2**63) <= value < 2**63
    if too_large or (isinstance(value, float) and not math.isfinite(value)):
        return "a number is too large, or none (NaN); write it as text in quotes"
    return None
