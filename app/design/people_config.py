"""What an experiment owes to the people in it: how often they are spoken to, what they agreed to, what is kept of them."""

from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from app.content.message_config import Channel
from app.foundation.fields import Model, shaped, wrong
from app.foundation.times import is_zone

MAX_WINDOW_S: Final = 90 * 86_400
MAX_CAP: Final = 1000
MAX_REPEATS: Final = 100
REPEATS_LOOKBACK: Final = 500  # newest decisions of a unit among which repeats are counted
PURPOSES: Final = ("personalise", "learn", "analyse", "message")
Purpose = Literal["personalise", "learn", "analyse", "message"]
Rule = Literal["unless_denied", "if_granted"]
ClockTime = Annotated[str, shaped(r"^([01]\d|2[0-3]):[0-5]\d$", "clock_shape")]


def _known_zone(name: str) -> str:
    if not is_zone(name):
        raise wrong("not_a_time_zone")
    return name


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]


class CapSpec(Model):
    """Maximum number of messages for one unit within a rolling window."""

    limit: int = Field(ge=1, le=MAX_CAP, description="Messages.")
    window_s: float = Field(ge=1, le=MAX_WINDOW_S, description="Seconds before now that count.")
    channel: Channel | None = Field(default=None, description="Only messages of this channel; without it all.")
    action: str | None = Field(default=None, max_length=500, description="Only this message; without it all.")
    across: Literal["experiment", "platform"] = Field(
        default="platform", description="What counts: this experiment's messages, or those of every experiment."
    )


class QuietHours(Model):
    """Hours of the unit's day in which nothing is said."""

    start: ClockTime = Field(description="The first quiet minute, as 22:00.")
    end: ClockTime = Field(description="The first minute after, as 08:00; before start: on the next day.")
    time_zone: TimeZone = Field(default="UTC", description="For units of which the call names no time zone.")

    def zone(self, name: str | None) -> ZoneInfo:
        """The clock that holds for a call."""
        return ZoneInfo(name or self.time_zone)


class FatigueSpec(Model):
    """What keeps people from being spoken to too often; evaluated before the draw, exact also for simultaneous calls."""

    caps: list[CapSpec] = Field(default_factory=list, max_length=20)
    quiet_hours: QuietHours | None = None
    min_distance_s: float | None = Field(
        default=None,
        ge=1,
        le=MAX_WINDOW_S,
        description="Seconds since the last message, of any experiment and channel.",
    )

    def lookback_s(self) -> float:
        """How far back messages must be known, in seconds; 0: not at all."""
        return max([cap.window_s for cap in self.caps] + [self.min_distance_s or 0.0])


class ConsentSpec(Model):
    """Per purpose, whether silence counts as a yes. A unit that denied or revoked a purpose never counts as silent."""

    personalise: Rule = Field(
        default="unless_denied", description="Without it: the control's answer, not learned from."
    )
    learn: Rule = Field(default="unless_denied", description="Without it: decided, never learned from.")
    analyse: Rule = Field(default="unless_denied", description="Without it: decided, in no report.")
    message: Rule = Field(default="unless_denied", description="Without it: nothing is said.")


class GroupCap(Model):
    """At most so many decisions of one unit for each group of actions within a rolling window."""

    by: str = Field(
        default="action",
        min_length=1,
        max_length=100,
        description="A text feature of the actions, such as category, whose values are the groups; action: each is its own.",
    )
    limit: int = Field(ge=1, le=MAX_REPEATS, description="Decisions of the unit for each group.")
    window_s: float = Field(ge=1, le=MAX_WINDOW_S, description="Seconds before now that count.")


class RepeatsSpec(Model):
    """Bounds on repetition, kept before the draw: whatever they exclude has no probability, and the reason is logged."""

    in_a_row: int | None = Field(
        default=None,
        ge=1,
        le=MAX_REPEATS,
        description="At most so many decisions of a unit after one another for one group.",
    )
    by: str = Field(default="action", min_length=1, max_length=100, description="Groups of in_a_row, as of a cap.")
    caps: list[GroupCap] = Field(default_factory=list, max_length=10)

    @model_validator(mode="after")
    def _says_something(self) -> "RepeatsSpec":
        if self.in_a_row is None and not self.caps:
            raise wrong("repeats_empty")
        return self


class ProfileSpec(Model):
    """What of the unit's own past in this experiment is added to the context, as ``profile``."""

    counts: bool = Field(default=True, description="Earlier decisions and messages, decayed.")
    recency: bool = Field(default=True, description="Hours since the last decision and the last message.")
    actions: bool = Field(default=True, description="Per action: how often, the last and the mean reward, decayed.")
    tags: bool = Field(default=False, description='The same per tag; an action\'s tags are its feature "tags".')
    half_life_s: float = Field(default=7 * 86_400, ge=60, le=MAX_WINDOW_S, description="Decay: half the weight after.")
    lookback: int = Field(default=100, ge=1, le=500, description="Newest decisions that are looked at.")


class ContextField(Model):
    """A top-level field of the context that may be used and stored."""

    name: str = Field(min_length=1, max_length=200)
    hashed: bool = Field(default=False, description="True: only a keyed hash of the value is used and stored.")


def silent_needed(fatigue: FatigueSpec | None, consent: ConsentSpec | None) -> bool:
    """True when somebody may have to be told nothing."""
    return fatigue is not None or (consent is not None and consent.message == "if_granted")


def plain(spec: BaseModel | None) -> Any:
    """The part as JSON; null when it is not there."""
    return None if spec is None else spec.model_dump(mode="json")
