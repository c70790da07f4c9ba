"""JSON that people type: read strictly, with each mistake in a sentence."""

import json
import math
from typing import Any

from app.foundation.fields import JsonObject

MAX_DEPTH = 24  # the whole definition nests a little deeper


class _Repeated(ValueError):
    """Two equal keys in one object."""


def read_json(text: str) -> tuple[Any, str | None]:
    """The document and, when it is none, what is wrong with it."""
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        return None, f"this is not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}"
    except _Repeated as error:
        return None, f"the name {error} stands twice in one object; keep one"
    except (RecursionError, ValueError):
        return None, "this cannot be read as JSON: it nests too deep, or holds a number of thousands of digits"
    problem = _problem(found, 0)
    return (None, problem) if problem else (found, None)


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _Repeated(repr(next(key for key in keys if keys.count(key) > 1)))
    return found


def _problem(value: Any, depth: int) -> str | None:
    """Why the database or an app could not hold it."""
    if depth > MAX_DEPTH:
        return f"this nests deeper than {MAX_DEPTH} levels; flatten it"
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    elif isinstance(value, str):
        return _text_problem(value)
    else:
        whole = isinstance(value, int) and not -(2**63) <= value < 2**63
        infinite = isinstance(value, float) and not math.isfinite(value)
        return "a number is too large, or none (NaN); write it as text in quotes" if whole or infinite else None
    return next((found for part in parts if (found := _problem(part, depth + 1))), None)


def _text_problem(value: str) -> str | None:
    if "\0" in value:
        return "a text holds the character NUL (\\u0000); remove it"
    lone = any("\ud800" <= sign <= "\udfff" for sign in value)
    return "a text holds half of a surrogate pair (\\ud800 to \\udfff); remove it" if lone else None
