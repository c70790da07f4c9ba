"""The documents about people in answers, and the receipts of erasures as they are stored."""

from typing import Literal

from pydantic import ConfigDict, JsonValue

from app.foundation.fields import Document


class ConsentAnswer(Document):
    """The current consent of a unit."""

    unit_id: str
    consent: dict[str, str | None]  # by purpose; null: the person gave no answer


class ConsentLine(Document):
    """One line of the ledger."""

    purpose: str
    status: str
    text_version: str
    source: str
    occurred_at: str
    recorded_at: str


class ConsentLedger(ConsentAnswer):
    """The current consent of a unit, and the ledger behind it, newest first."""

    ledger: list[ConsentLine]


Rows = list[dict[str, JsonValue]]  # as stored; contexts, messages and properties are JSON that apps sent


class StoredOfUnit(ConsentLedger):
    """Everything that is stored about a unit, newest first."""

    decisions: Rows
    rewards: Rows
    feedback: Rows
    events: Rows
    messages: Rows
    firings: Rows
    complete: bool  # false if a kind has more rows than are listed


class _Receipt(Document):
    """A signed document, so reading it must not lose any of its fields."""

    model_config = ConfigDict(extra="allow")


class ErasedDecisions(_Receipt):
    """How many decisions of an arm were removed, so that an audit does not find them any more."""

    experiment: str
    arm: str
    decisions: int


class ReceiptVersion(_Receipt):
    """A model version."""

    version: int
    sha256: str
    learned: int | None = None  # decisions; absent in receipts of older versions


class RelearnedModel(_Receipt):
    """A model that had learned from the unit."""

    experiment: str
    arm: str
    old: ReceiptVersion
    new: ReceiptVersion
    forgotten_versions: list[int]  # whose bytes are gone
    relearned_versions: list[int] | None = (
        None  # of these: which were learned again without the unit; absent in older receipts
    )


class Receipt(_Receipt):
    """The receipt of an erasure. It names the unit only by a keyed hash."""

    erasure_id: str
    unit_hash: str
    removed: dict[str, int]  # rows, by table
    decisions: list[ErasedDecisions]
    models: list[RelearnedModel]
    signature: str = ""


class ErasureAnswer(Document):
    """The progress of an erasure."""

    erasure_id: str
    status: Literal["waiting", "done"]
    problem: str | None  # why the last try failed
    requested_at: str
    retry_at: str | None  # the next try; null: at once
    done_at: str | None
    receipt: Receipt | None
