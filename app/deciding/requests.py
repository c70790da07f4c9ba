"""What an app may ask: the shapes of decide and reward calls, free of any web framework."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from app.content.message_config import Channel, LocaleKey, VariableName, VariableValue
from app.design.experiment_config import MAX_ACTIONS, ActionSpec
from app.design.people_config import Purpose, TimeZone
from app.foundation.fields import Id, Key, Model

MAX_BATCH = 1000
MAX_SLOTS = 50
EARLIEST_YEAR, LATEST_YEAR = 1900, 3000


def _parse_time(value: object) -> object:
    """Strict mode takes no strings for times; JSON has nothing else."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("give a time as ISO 8601 with an offset, such as 2026-01-31T12:00:00Z") from None
        if not EARLIEST_YEAR < moment.year < LATEST_YEAR:  # in any time zone, PostgreSQL and Python can both write it
            raise ValueError(f"give a time between the years {EARLIEST_YEAR} and {LATEST_YEAR}")
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_parse_time, json_schema_input_type=str)]


class DecisionPath(BaseModel):
    """The part of an address that names a decision."""

    decision_id: str


class DecideRequest(Model):
    """Ask for one action."""

    experiment: Key
    unit_id: Id = Field(description="Whom the arm is assigned to: a user, a household, a session.")
    context: dict[str, Any] = Field(default_factory=dict, description="What is known now, as nested JSON.")
    actions: list[ActionSpec] | None = Field(
        default=None, max_length=MAX_ACTIONS, description="This call's candidates; without it the experiment's actions."
    )
    excluded_actions: list[Id] = Field(default_factory=list, max_length=MAX_ACTIONS)
    decision_id: Id | None = Field(default=None, description="Your own id: asking again with it gives the same answer.")
    defer_activation: bool = Field(default=False, description="True: not learned from until it is activated.")
    time_zone: TimeZone | None = Field(default=None, description="The unit's, as Europe/Vienna; for quiet hours.")
    slots: int | None = Field(
        default=None, ge=1, le=MAX_SLOTS, description="A list of so many different actions, each a decision of its own."
    )


class DecideBatch(Model):
    """Several decisions in one commit: all are stored, or none."""

    decisions: list[DecideRequest] = Field(
        min_length=1, max_length=MAX_BATCH, description="At most 1,000 with all positions of lists counted."
    )


class MessageRequest(DecideRequest):
    """Ask for one message."""

    variables: dict[VariableName, VariableValue | None] = Field(
        default_factory=dict, max_length=50, description="Values of the templates' placeholders for this person."
    )
    locale: LocaleKey = Field(default="en", description="The person's language, such as de-AT.")
    channel: Channel | None = Field(default=None, description="Only variants of this channel; without it any.")


class Asked(NamedTuple):
    """One request for a decision with its identity."""

    request: DecideRequest
    body_hash: str
    decision_id: str
    actions: Any  # the call's candidates as they came, or null


class RewardRequest(Model):
    """Report what a decision was worth."""

    decision_id: Id
    value: float
    reward_id: Id | None = Field(
        default=None,
        description="Your own id of this event. Without it, the same value for the same decision counts once.",
    )
    occurred_at: Time | None = Field(default=None, description="When it happened; without it, when it arrived.")
    metric: Key = Field(default="reward", description='"reward" is learned from; other names are kept for reports.')


class RewardBatch(Model):
    """Several rewards in one commit: all are stored, or none."""

    rewards: list[RewardRequest] = Field(min_length=1, max_length=MAX_BATCH)


class ConsentRequest(Model):
    """Report what a person agreed to, or did not."""

    unit_id: Id
    purposes: dict[Purpose, Literal["granted", "denied", "revoked"]] = Field(min_length=1)
    text_version: str = Field(min_length=1, max_length=200, description="Of the text that the person read.")
    source: str = Field(min_length=1, max_length=200, description="Where it was given, such as settings page.")
    occurred_at: Time | None = Field(
        default=None,
        description="When the person said it. A yes needs it: else a retry could undo what was revoked meanwhile.",
    )
