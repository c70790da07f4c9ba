"""The shapes of feedback calls, independent of any web framework."""

from typing import Annotated

from pydantic import Field, StringConstraints

from app.design.feedback_config import Kind
from app.foundation.fields import MAX_BATCH, Id, Key, Model, Time
from app.learning.reward_request import EXPERIMENT

AnswerText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class FeedbackRequest(Model):
    """Report what somebody said of a decision."""

    decision_id: Id
    experiment: Key | None = Field(default=None, description=EXPERIMENT)
    kind: Kind
    value: AnswerText | int | float | None = Field(
        default=None,
        description='thumbs: "up" or "down"; stars: 1 to 5; score: 0 to 10; reason: its name; other kinds have none.',
    )
    comment: str | None = Field(default=None, min_length=1, max_length=10_000, description="In their own words.")
    feedback_id: Id | None = Field(
        default=None,
        description="Your own id of this answer. Without it, the same answer for the same decision counts once.",
    )
    occurred_at: Time | None = Field(default=None, description="When it was given; without it, when it arrived.")


class FeedbackBatch(Model):
    """Several answers in one commit: all are stored, or none."""

    feedback: list[FeedbackRequest] = Field(min_length=1, max_length=MAX_BATCH)
