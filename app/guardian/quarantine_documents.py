"""The documents of the quarantine: what is asked for, and what is held out of rounds."""

from typing import Literal

from pydantic import Field

from app.foundation.fields import Document, Id, Model, Time

Verb = Literal["hold", "release", "exclude"]


class QuarantineRequest(Model):
    """What to do with decisions, and with which: those that fit everything that is given."""

    do: Verb = Field(
        description="hold: not learned from now on. exclude: not learned, and models that learned them are learned again. "
        "release: learned after all."
    )
    suspect: int | None = Field(default=None, ge=1, le=2**63 - 1, description="The id of one that is listed.")
    rule: str | None = Field(default=None, max_length=40, description="unit_share, anomaly, or person.")
    unit_id: Id | None = None
    key_id: str | None = Field(
        default=None, max_length=100, description="Id of the API key that asked for the decisions."
    )
    since: Time | None = Field(default=None, description="Decided then or later.")
    until: Time | None = Field(default=None, description="Decided before.")
    reason: str = Field(min_length=1, max_length=1000, description="It is kept in the history.")


class ModelVersion(Document):
    """A model version."""

    version: int
    sha256: str


class Relearned(Document):
    """A model that learned what was excluded."""

    arm: str
    old: ModelVersion
    new: ModelVersion
    learned: int  # decisions of the new one
    promoted: bool  # false: it failed its checks, and the old one still serves


class ExclusionReceipt(Document):
    """What became of an exclusion. It does not name the unit."""

    suspect: int
    decisions: int  # that are held out
    models: list[Relearned]
    signature: str  # HMAC-SHA256 (hex) over the rest


class Suspect(Document):
    """Whose decisions are held out, or were."""

    id: int
    rule: str
    unit_id: str | None
    key_id: str | None
    since: str | None
    until: str | None
    status: Literal["held", "released", "excluded"]
    why: str
    actor: str
    opened_at: str
    decided_at: str | None
    held: int  # decisions now
    receipt: ExclusionReceipt | None  # of an exclusion, once the models followed


class HeldUnit(Document):
    """A unit that made more decisions than it may teach."""

    unit_id: str
    held: int


class Quarantine(Document):
    """What is held out of an experiment's rounds."""

    experiment: str
    held: dict[str, int]  # decisions now, by rule
    suspects: list[Suspect]  # newest first
    units: list[HeldUnit]  # held out by the bound on a unit's share, the heaviest first
