"""The seal of a decision breaks if any single sealed field changes, and seals of the first form still verify."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from app.deciding.seal import FIELDS, OPTIONAL_FIELDS, VERSION, holds, seal
from app.deciding.store.decisions import StoredDecision

SECRET = "the secret of these tests"
UNSEALED = {"state", "confirmed", "seal", "decided_at", "closes_at", "erased_at"}
ROW = StoredDecision(
    id="d-1",
    experiment_id=7,
    config_version=3,
    key_id="lw_000000000000",
    body_hash="ab" * 32,
    unit_id="household-7",
    arm="learned",
    policy_version=12,
    policy_sha256="cd" * 32,
    actions=[{"id": "a", "features": {}}],
    eligible=["a", "b"],
    ineligible=[{"id": "c", "code": "excluded", "params": {}}],
    distribution=[0.25, 0.75],
    chosen=1,
    propensity=0.75,
    draw=0.5,
    context={"last": "nabisco"},
    encoding_version=1,
    message={"title": "Hello"},
    state="active",
    confirmed=False,
    seal="",
    decided_at=datetime(2026, 1, 31, tzinfo=UTC),
    closes_at=None,
    channel="push",
    withheld=["learn"],
    dropped=2,
    holdout_version=3,
    holdout=True,
    counted={"learned": {"decisions": 9, "groups": [4, 5], "eligible": [9, 9], "lag": 0.1, "age_s": 1.5}},
    erased_at=None,
)
OTHER: dict[str, Any] = {
    "id": "d-2",
    "experiment_id": 8,
    "config_version": 4,
    "key_id": "lw_000000000001",
    "body_hash": "ba" * 32,
    "unit_id": "household-8",
    "arm": "control",
    "policy_version": 13,
    "policy_sha256": None,
    "actions": None,
    "eligible": ["b", "a"],
    "ineligible": [{"id": "c", "code": "muted", "params": {}}],
    "distribution": [0.24999999999999997, 0.75],
    "chosen": 0,
    "propensity": 0.7500000000000001,
    "draw": 0.5000000000000001,
    "context": {"last": "private"},
    "encoding_version": 2,
    "message": {"title": "Hullo"},
    "channel": None,
    "withheld": None,
    "dropped": 3,
    "holdout_version": 4,
    "holdout": None,
    "counted": {"learned": {"decisions": 9, "groups": [5, 4], "eligible": [9, 9], "lag": 0.1, "age_s": 1.5}},
}


def _sealed(row: StoredDecision) -> StoredDecision:
    return row._replace(seal=seal(SECRET, row))


def test_every_column_is_sealed_or_may_change_afterwards() -> None:
    assert {*FIELDS, *OPTIONAL_FIELDS} | UNSEALED == set(StoredDecision._fields)
    assert {*FIELDS, *OPTIONAL_FIELDS} == set(OTHER)


def test_an_unchanged_row_matches_its_seal_but_not_under_another_secret() -> None:
    assert holds(SECRET, _sealed(ROW))
    assert not holds("another secret", _sealed(ROW))


@pytest.mark.parametrize("field", sorted(OTHER))
def test_a_change_of_one_sealed_field_breaks_the_seal(field: str) -> None:
    assert not holds(SECRET, _sealed(ROW)._replace(**{field: OTHER[field]}))


@pytest.mark.parametrize("field", OPTIONAL_FIELDS)
def test_adding_a_field_that_was_absent_breaks_the_seal(field: str) -> None:
    absent = _sealed(ROW._replace(**dict.fromkeys(OPTIONAL_FIELDS)))
    assert holds(SECRET, absent)
    assert not holds(SECRET, absent._replace(**{field: getattr(ROW, field)}))


def test_activating_and_settling_a_decision_keeps_its_seal_valid() -> None:
    later = datetime(2026, 2, 1, tzinfo=UTC)
    assert holds(SECRET, _sealed(ROW)._replace(state="unanswered", confirmed=True, closes_at=later))


@pytest.mark.parametrize("message", [None, {"title": "Hello"}])
def test_a_seal_of_the_first_form_verifies_and_breaks_with_a_change(message: dict[str, str] | None) -> None:
    """The first form had no version and no tag; a message followed the other fields without its name."""
    row = ROW._replace(
        message=message,
        ineligible=[{"id": "c", "reason": "excluded"}],
        holdout_version=None,
        holdout=None,
        counted=None,
    )
    claims: list[Any] = [getattr(row, name) for name in FIELDS] + ([] if message is None else [message])
    claims += [[name, getattr(row, name)] for name in ("channel", "withheld", "dropped")]
    document = orjson.dumps(claims, option=orjson.OPT_SORT_KEYS)
    old = row._replace(seal=hmac.new(SECRET.encode(), document, hashlib.sha256).hexdigest())
    assert holds(SECRET, old)
    assert [
        field
        for field in OTHER
        if OTHER[field] != getattr(old, field) and holds(SECRET, old._replace(**{field: OTHER[field]}))
    ] == []
    assert not holds(SECRET, old._replace(seal=VERSION + old.seal))


def test_a_seal_is_the_version_and_a_digest_and_never_changes_its_form() -> None:
    made = seal(SECRET, ROW)
    assert (made[:2], len(made), set(made[2:]) <= set("0123456789abcdef")) == ("2:", 66, True)
