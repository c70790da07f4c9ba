"""A seal on each logged decision: the audit finds every field that somebody changed later without holding the secret.

Recomputing a distribution shows that the log is consistent; it does not show a changed context if the model
gives the same distribution for it. The seal does.
"""

import hmac
from operator import attrgetter
from typing import Final

import orjson

from app.deciding.store.decisions import NewDecision, StoredDecision
from app.foundation.secrets import Purpose, derive

# What a decision claims. Its state and times are not sealed because activation changes them.
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
OPTIONAL_FIELDS: Final = (
    "message",
    "channel",
    "withheld",
    "dropped",
    "holdout_version",
    "holdout",
    "counted",
)  # sealed with their names, if they have a value
_CLAIMS: Final = attrgetter(*FIELDS)
_OPTIONAL: Final = attrgetter(*OPTIONAL_FIELDS)
_NONE: Final = (None,) * len(OPTIONAL_FIELDS)
VERSION: Final = "2:"  # every new seal begins with it; the oldest seals have no version


def seal(secret: str, row: NewDecision | StoredDecision) -> str:
    """Return the version, followed by HMAC-SHA256 (hex) over the fields of a decision."""
    claims = [*_CLAIMS(row)]
    if _OPTIONAL(row) != _NONE:  # most rows have none of them
        claims += _named(row, OPTIONAL_FIELDS)
    return VERSION + derive(secret, Purpose.DECISION_SEAL, _document(claims)).hex()


def holds(secret: str, row: StoredDecision) -> bool:
    """Return True if a stored decision still matches its seal."""
    expected = seal(secret, row) if row.seal.startswith(VERSION) else _seal_1(secret, row)
    return hmac.compare_digest(expected, row.seal)


def _seal_1(secret: str, row: StoredDecision) -> str:
    """Compute a seal of the first form, which has no tag and holds the message without its name."""
    fields = FIELDS if row.message is None else (*FIELDS, "message")
    claims = [getattr(row, name) for name in fields] + _named(row, OPTIONAL_FIELDS[1:])
    return derive(secret, Purpose.UNTAGGED, _document(claims)).hex()


def _named(row: NewDecision | StoredDecision, names: tuple[str, ...]) -> list[object]:
    return [[name, value] for name in names if (value := getattr(row, name)) is not None]


def _document(claims: list[object]) -> bytes:
    return orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
