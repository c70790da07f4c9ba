"""A seal on each logged decision: the audit finds every field that somebody changed later without holding the secret.

Recomputing a distribution shows that the log is consistent; it cannot see a changed context to which the model was
indifferent. The seal can.
"""

import hmac
from typing import Final

import orjson

from app.deciding.store.decisions import NewDecision, StoredDecision
from app.foundation.secrets import Purpose, derive

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
OPTIONAL_FIELDS: Final = ("message", "channel", "withheld", "dropped")  # sealed under their names where they are there
VERSION: Final = "2:"  # begins every seal that is made now; seals from before have no version


def seal(secret: str, row: NewDecision | StoredDecision) -> str:
    """The version, and HMAC-SHA256 (hex) over the fields of a decision."""
    claims = [getattr(row, name) for name in FIELDS] + _named(row, OPTIONAL_FIELDS)
    return VERSION + derive(secret, Purpose.DECISION_SEAL, _document(claims)).hex()


def holds(secret: str, row: StoredDecision) -> bool:
    """True when a stored decision is as it was sealed."""
    made_again = seal(secret, row) if row.seal.startswith(VERSION) else _seal_1(secret, row)
    return hmac.compare_digest(made_again, row.seal)


def _seal_1(secret: str, row: StoredDecision) -> str:
    """A seal of the first form: no tag, and the message without its name."""
    fields = FIELDS if row.message is None else (*FIELDS, "message")
    claims = [getattr(row, name) for name in fields] + _named(row, ("channel", "withheld", "dropped"))
    return derive(secret, Purpose.UNTAGGED, _document(claims)).hex()


def _named(row: NewDecision | StoredDecision, names: tuple[str, ...]) -> list[object]:
    return [[name, getattr(row, name)] for name in names if getattr(row, name) is not None]


def _document(claims: list[object]) -> bytes:
    return orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
