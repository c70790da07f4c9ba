"""Consent, stored data and erasure of the people behind the units, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

Purpose = Literal["personalise", "learn", "analyse", "message"]
ConsentStatus = Literal["granted", "denied", "revoked"]


class Consent(NamedTuple):
    """The current consent of a unit, by purpose. None: no answer yet; the experiment's settings say what that means."""

    personalise: ConsentStatus | None
    learn: ConsentStatus | None
    analyse: ConsentStatus | None
    message: ConsentStatus | None


class ConsentLine(NamedTuple):
    """One line of the ledger."""

    purpose: str
    status: str
    text_version: str  # of what the person read
    source: str  # where it was given
    occurred_at: datetime
    recorded_at: datetime


class ConsentLedger(NamedTuple):
    """The current consent of a unit, and the ledger behind it."""

    unit_id: str
    consent: Consent
    ledger: tuple[ConsentLine, ...]  # newest first


class RelearnedModel(TypedDict):
    """One arm in the receipt of an erasure; ``old`` and ``new`` have ``version`` and ``sha256``."""

    experiment: str
    arm: str
    old: dict[str, Any]
    new: dict[str, Any]
    forgotten_versions: list[int]


class ErasureReceipt(TypedDict):
    """The receipt of an erasure, signed by the server. It names the unit only by a keyed hash."""

    erasure_id: str
    unit_hash: str
    removed: dict[str, int]  # rows by table
    decisions: list[dict[str, Any]]  # by experiment and arm
    models: list[RelearnedModel]
    signature: str


@dataclass(frozen=True)
class Erasure:
    """The progress of an erasure."""

    erasure_id: str
    status: str  # waiting, done
    requested_at: datetime
    done_at: datetime | None
    receipt: ErasureReceipt | None  # once it is done
    problem: str | None  # why the last try failed; it is tried again


class Person(TypedDict):
    """Everything that is stored about a unit, as JSON for the person: times are texts, and lists have the newest first."""

    unit_id: str
    consent: dict[str, str | None]
    ledger: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    rewards: list[dict[str, Any]]
    feedback: list[dict[str, Any]]
    events: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    firings: list[dict[str, Any]]
    complete: bool  # False: a list has more rows than are given here
