"""What keeps a unit from seeing the same again and again: most repeats in a row, and caps for each group of actions."""

from pydantic import Field, model_validator

from app.design.people_config import MAX_WINDOW_S
from app.foundation.fields import Model, wrong

LOOKBACK = 500  # newest decisions of a unit that are counted
MOST = 100


class GroupCap(Model):
    """At most so many decisions of one unit for each group of actions within a rolling window."""

    by: str = Field(
        default="action",
        min_length=1,
        max_length=100,
        description="A text feature of the actions, such as category, whose values are the groups; action: each is its own.",
    )
    limit: int = Field(ge=1, le=MOST, description="Decisions of the unit for each group.")
    window_s: float = Field(ge=1, le=MAX_WINDOW_S, description="Seconds before now that count.")


class RepeatsSpec(Model):
    """Bounds on repetition, kept before the draw: whatever they exclude has no probability, and the reason is logged."""

    in_a_row: int | None = Field(
        default=None, ge=1, le=MOST, description="At most so many decisions of a unit after one another for one group."
    )
    by: str = Field(default="action", min_length=1, max_length=100, description="Groups of in_a_row, as of a cap.")
    caps: list[GroupCap] = Field(default_factory=list, max_length=10)

    @model_validator(mode="after")
    def _says_something(self) -> "RepeatsSpec":
        if self.in_a_row is None and not self.caps:
            raise wrong("repeats_empty")
        return self
