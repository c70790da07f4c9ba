"""Only declared fields are used and stored: others are dropped, and some declared ones are replaced by a keyed hash."""

import hashlib
import hmac
from typing import Any

from app.design.people_config import ContextField
from app.foundation.fields import JsonObject
from app.foundation.formats.same_json import canonical
from app.foundation.secrets import Purpose, derive

HASH_CHARACTERS = 22  # hexadecimal digits: 88 bits, so that no two of a billion values have the same hash


def keep_declared(fields: list[ContextField] | None, context: JsonObject, key: bytes) -> tuple[JsonObject, int]:
    """The part of the context that may be used, and how many fields were dropped.

    :param fields: the declared ones; null: all are kept.
    :param key: of the hashes; the same value has the same hash under one key only.
    """
    if fields is None:
        return context, 0
    hashed = {field.name: field.hashed for field in fields}
    declared = {name: _hash(value, key) if hashed[name] else value for name, value in context.items() if name in hashed}
    return declared, len(context) - len(declared)


def hash_key(secret: str, salt: bytes) -> bytes:
    """The key of one experiment's hashes, so that the hashes of two experiments cannot be compared."""
    return derive(secret, Purpose.CONTEXT_FIELD, salt)


def _hash(value: Any, key: bytes) -> str | None:
    if value is None:
        return None
    return hmac.new(key, canonical(value), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]
