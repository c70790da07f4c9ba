"""Only what was declared is used and stored: fields that nobody declared are dropped, some are replaced by a keyed hash."""

import hashlib
import hmac
from typing import Any

import orjson

from app.design.people_config import ContextField
from app.foundation.fields import JsonObject
from app.foundation.secrets import Purpose, derive

HASH_CHARACTERS = 22  # of hexadecimal: 88 bits, no two of a billion values alike


def keep_declared(fields: list[ContextField] | None, context: JsonObject, key: bytes) -> tuple[JsonObject, int]:
    """The context as it may be used, and how many fields were dropped.

    :param fields: the declared ones; null: all are kept.
    :param key: of the hashes; the same value has the same hash under one key only.
    """
    if fields is None:
        return context, 0
    hashed = {field.name: field.hashed for field in fields}
    kept = {name: _hash(value, key) if hashed[name] else value for name, value in context.items() if name in hashed}
    return kept, len(context) - len(kept)


def hash_key(secret: str, salt: bytes) -> bytes:
    """The key of one experiment's hashes: a field's hash in one says nothing about another."""
    return derive(secret, Purpose.CONTEXT_FIELD, salt)


def _hash(value: Any, key: bytes) -> str | None:
    if value is None:
        return None
    plain = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hmac.new(key, plain, hashlib.sha256).hexdigest()[:HASH_CHARACTERS]
