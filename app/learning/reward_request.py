"""The shapes of reward calls."""

from pydantic import Field

from app.foundation.fields import MAX_BATCH, Id, Key, Model, Time

EXPERIMENT = "The decision's experiment. A key that may use several needs it if several have that id."
LARGEST_VALUE = 1e12  # sums of squares keep enough digits up to there, and cannot overflow


class RewardRequest(Model):
    """Report what a decision was worth."""

    decision_id: Id
    experiment: Key | None = Field(default=None, description=EXPERIMENT)
    value: float = Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)
    reward_id: Id | None = Field(
        default=None,
        description="Your own id of this event. Without it, the same value for the same decision counts once.",
    )
    occurred_at: Time | None = Field(default=None, description="When it happened; without it, when it arrived.")
    metric: Key = Field(default="reward", description='"reward" is learned from; other names are kept for reports.')


class RewardBatch(Model):
    """Several rewards in one commit: all are stored, or none."""

    rewards: list[RewardRequest] = Field(min_length=1, max_length=MAX_BATCH)
