"""The shapes of this feature's answers, for the OpenAPI document; the tests compare real answers with them."""

from typing import Literal

from pydantic import BaseModel, Field


class RewardAnswer(BaseModel):
    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: str
    received_at: str
    late: bool = Field(description="True: it came after the reward window; kept and counted, not learned from.")
    test: bool | None = Field(default=None, description="True: of a trial, checked and not kept; otherwise not there.")


class RewardBatchAnswer(BaseModel):
    rewards: list[RewardAnswer]


class FeedbackAnswer(BaseModel):
    decision_id: str
    feedback_id: str
    kind: str
    value: str | int | float | None
    comment: str | None
    occurred_at: str
    received_at: str
    late: bool = Field(description="True: it came after the reward window; kept and counted, not learned from.")
    test: bool | None = Field(default=None, description="True: of a trial, checked and not kept; otherwise not there.")


class FeedbackBatchAnswer(BaseModel):
    feedback: list[FeedbackAnswer]


class ActivationAnswer(BaseModel):
    decision_id: str
    state: Literal["active"]
    activated: bool = Field(description="False: it was active already.")


class RebuildAnswer(BaseModel):
    experiment: str
    arm: str
    status: Literal["waiting"]


class PinAnswer(BaseModel):
    experiment: str
    arm: str
    candidate: str | None
    status: Literal["waiting"]
