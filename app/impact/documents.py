"""What is answered and shown about all experiments together."""

from pydantic import Field

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument


class HoldoutVersion(Document):
    """One version of the global holdout."""

    version: int
    share: float
    actor: str
    reason: str
    at: str  # ISO 8601


class HoldoutStanding(Document):
    """The global holdout, and how it came about."""

    share: float = Field(description="Of all units; 0: there is no holdout.")
    since: str | None = Field(description="When the share was last raised from 0.")
    versions: list[HoldoutVersion] = Field(description="Newest first.")


class EffectLine(Document):
    """Units outside the holdout against units in it."""

    experiment: str | None  # null: all of them together
    arm: str | None  # that was shipped
    since: str | None
    held_units: int
    other_units: int
    held: float | None  # mean per unit
    others: float | None
    difference: float | None
    relative_lift: float | None
    interval: IntervalDocument  # for one look
    always_valid: IntervalDocument  # at every look together


class HoldoutEffect(Document):
    """What all shipped experiments did together, against the units that none of them touched."""

    share: float
    measured: str  # what is summed per unit, in words
    lines: list[EffectLine]  # all together first, then one for each experiment
    reason: str = ""  # why there is no line
    left_out: float = 0.0  # share of units that were in the holdout for a part of the time
    assumptions: list[str]
    computed_at: str  # of rewards as the worker compared them last, of events now
