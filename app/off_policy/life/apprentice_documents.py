"""What is asked and answered about apprentices. See ``app.off_policy.life.apprentice``."""

from typing import Literal

from pydantic import Field

from app.foundation.fields import Document, Model
from app.foundation.formats.intervals import IntervalDocument


class SwitchRequest(Model):
    """Who decides in a learning arm: the caller, whom it imitates, or what it learned."""

    arm: str = Field(min_length=1, max_length=100)
    apprentice: bool = Field(
        description="False switches it on: what it learned decides. True: the first action is shown."
    )
    reason: str = Field(min_length=1, max_length=1000, description="It is kept in the history.")


class AgreementPoint(Document):
    """A part of the decisions of an apprentice."""

    at: str = Field(description="When the last of them was made.")
    decisions: int
    agreement: float
    interval: IntervalDocument


class Valued(Document):
    """What the apprentice would have earned, as far as the log can say."""

    expected: float = Field(
        description="By a model of the rewards of earlier decisions. It is a guess for actions that were never shown."
    )
    at_least: float = Field(description="If it earned the least reward wherever it would have shown another action.")
    at_most: float = Field(description="If it earned the largest reward wherever it would have shown another action.")
    estimate: float | None = Field(
        description="From all arms' decisions and their probabilities; null: the log cannot tell."
    )
    interval: IntervalDocument | None = Field(description="Of the estimate; it holds at every look.")
    reasons: list[str] = Field(description="Why there is no estimate, or what to know of it.")


class Apprentice(Document):
    """One arm that is an apprentice, or was one last."""

    arm: str
    active: bool = Field(description="False: it was switched on.")
    since: str
    until: str | None
    decisions: int = Field(description="Settled ones that it was scored on, among the newest 10,000 of all arms.")
    agreement: float | None = Field(
        description="Mean probability that it would have shown what was shown, over the newest 1,000 of them."
    )
    interval: IntervalDocument | None = Field(description="Of the agreement; it holds at every look.")
    same: float | None = Field(description="Share of them whose action is the one that it likes best.")
    course: list[AgreementPoint] = Field(description="The agreement over time, oldest first.")
    earned: float | None = Field(description="What was shown earned per decision.")
    earned_interval: IntervalDocument | None
    value: Valued | None
    advice: Literal["wait", "go_on", "switch_on", "switched_on"]


class Apprentices(Document):
    """Every arm of an experiment that is an apprentice, or was one."""

    apprentices: list[Apprentice]
    computed_at: str | None = Field(description="When the worker computed the numbers; null: not yet.")
