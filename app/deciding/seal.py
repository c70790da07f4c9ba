"""A seal on each logged decision: whoever changes a field later, and does not hold the secret, is found by the audit.

Recomputing a distribution shows that the log is consistent; it cannot see a changed context to which the model was
indifferent. The seal can.
"""

import hashlib
import hmac
from typing import Any, Final

import orjson

# What a decision claims. Its state and times are not sealed: activation changes them.
FIELDS: Final = (
    "id",
    "experiment_id",
    "config_version",
    "key_id",
    "body_hash",
    "unit_id",
    "arm",
    "policy_version",
    "policy_sha256",
    "actions",
    "eligible",
    "ineligible",
    "distribution",
    "chosen",
    "propensity",
    "draw",
    "context",
    "encoding_version",
)
# Came later: sealed where they are there, so that rows from before stay whole.
LATER: Final = ("channel", "withheld", "dropped")


def seal(secret: str, row: Any) -> str:
    """HMAC-SHA256 (hex) over the fields of a decision, new or stored."""
    fields = FIELDS if row.message is None else (*FIELDS, "message")  # rows from before there were messages stay whole
    claims = [getattr(row, name) for name in fields]
    claims += [[name, getattr(row, name)] for name in LATER if getattr(row, name) is not None]
    document = orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
    return hmac.new(secret.encode(), document, hashlib.sha256).hexdigest()


def holds(secret: str, row: Any) -> bool:
    """True when a stored decision is as it was sealed."""
    return hmac.compare_digest(seal(secret, row), row.seal)
