"""What is answered about people, and the receipts of erasures as they are stored."""

from typing import Literal

from pydantic import ConfigDict, JsonValue

from app.foundation.fields import Document


class ConsentAnswer(Document):
    """What holds for a unit."""

    unit_id: str
    consent: dict[str, str | None]  # by purpose; null: nothing was said


class ConsentLine(Document):
    """One line of the ledger."""

    purpose: str
    status: str
    text_version: str
    source: str
    occurred_at: str
    recorded_at: str


class ConsentLedger(ConsentAnswer):
    """What holds for a unit, and how that came, newest first."""

    ledger: list[ConsentLine]


Rows = list[dict[str, JsonValue]]  # as stored; contexts, messages and properties are JSON that apps sent


class StoredOfUnit(ConsentLedger):
    """Everything that is stored of a unit, newest first."""

    decisions: Rows
    rewards: Rows
    feedback: Rows
    events: Rows
    messages: Rows
    firings: Rows
    complete: bool  # false where a kind has more rows than are given


class _Receipt(Document):
    """Signed as it stands, so nothing in it may be lost when it is read."""

    model_config = ConfigDict(extra="allow")


class ErasedDecisions(_Receipt):
    """How many decisions of an arm were removed: what an audit does not find any more."""

    experiment: str
    arm: str
    decisions: int


class ReceiptVersion(_Receipt):
    """A model version."""

    version: int
    sha256: str
    learned: int | None = None  # decisions; not of a version from before


class RelearnedModel(_Receipt):
    """A model that had learned from the unit."""

    experiment: str
    arm: str
    old: ReceiptVersion
    new: ReceiptVersion
    forgotten_versions: list[int]


class Receipt(_Receipt):
    """What an erasure removed. It names the unit only by a keyed hash."""

    erasure_id: str
    unit_hash: str
    removed: dict[str, int]  # rows, by table
    decisions: list[ErasedDecisions]
    models: list[RelearnedModel]
    signature: str = ""


class ErasureAnswer(Document):
    """How far an erasure is."""

    erasure_id: str
    status: Literal["waiting", "done"]
    problem: str | None  # why the last try failed
    requested_at: str
    retry_at: str | None  # the next try; null: at once
    done_at: str | None
    receipt: Receipt | None
