"""What a configuration says of an arm that is on its way to everybody, or has arrived. The platform writes it."""

from pydantic import Field

from app.foundation.fields import Key, Model

MAX_HOLDOUT = 0.5
STEPS = [0.05, 0.25, 0.5, 1.0]


class Shipped(Model):
    """One arm decides for everybody, apart from a holdout of the control, until somebody rolls back."""

    arm: Key
    holdout: float = Field(ge=0, le=MAX_HOLDOUT, description="Share of the units that the control keeps.")
    at: str = Field(description="When it was shipped.")
    by: str = Field(description="Who shipped it.")
    reason: str
    verdict: str | None = Field(
        default=None, description="What the decision rule said then; null: there were no results."
    )
    until: str | None = Field(default=None, description="When the experiment is concluded by itself; null: never.")
    before: dict[str, float] = Field(description="The shares of the arms before, by their keys.")


class Ramp(Model):
    """One arm gets a larger share step by step."""

    arm: Key
    steps: list[float] = Field(description="Its shares, the last one 1: shipped.")
    step: int = Field(ge=0, description="The step in force, counted from 0.")
    automatic: bool = Field(description="True: the worker takes the next step when the gate is open.")
    min_hours: float = Field(ge=0, description="Least length of a step.")
    holdout: float = Field(
        ge=0, le=MAX_HOLDOUT, description="Share of the units that the control keeps after the last step."
    )
    at: str = Field(description="When the step began.")
    by: str = Field(description="Who began the ramp.")
    reason: str
    before: dict[str, float] = Field(description="The shares of the arms before, by their keys.")
