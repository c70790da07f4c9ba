"""An experiment's feedback schema: the answers that people may give to a decision, and their rewards."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, Readable

KINDS: Final = ("thumbs", "stars", "score", "reason", "comment", "dismissed", "not_interested")
Kind = Literal["thumbs", "stars", "score", "reason", "comment", "dismissed", "not_interested"]
STARS: Final = 5
TOP_SCORE: Final = 10
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Thumbs(_Strict):
    """Reward of each thumb."""

    up: float
    down: float


class Score(_Strict):
    """Reward of a score of 0 and of a score of 10; linear in between."""

    low: float
    high: float


class FeedbackSpec(_Strict):
    """The reward of each kind of answer, in the experiment's reward unit; an answer without a reward is kept but not learned."""

    thumbs: Thumbs | None = None
    stars: list[float] | None = Field(
        default=None, min_length=STARS, max_length=STARS, description="Rewards of one to five stars."
    )
    score: Score | None = None
    reasons: dict[Name, float] | None = Field(default=None, max_length=50, description="Reward of each reason's name.")
    dismissed: float | None = None
    not_interested: float | None = None
    confidence: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="1: an answer counts fully; less: it is pulled towards the reward's default.",
    )
    mute_s: float = Field(
        default=30 * 86_400,
        ge=0,
        le=365 * 86_400,
        description='"not_interested" keeps the action from this unit for so many seconds.',
    )
    limit: int = Field(default=20, ge=1, le=10_000, description="Most answers of one unit within limit_window_s.")
    limit_window_s: float = Field(default=3600, ge=1, le=90 * 86_400)


_NUMBER: Readable[float] = Readable(float)
INTAKE = frozenset({"mute_s", "limit", "limit_window_s"})  # how answers are taken, not their rewards
DEFAULT_LIMITS: Final = FeedbackSpec()  # of an experiment without a schema


def answers_worth(spec: FeedbackSpec | None) -> JsonObject:
    """The part of a schema that decides rewards, as JSON; empty: no answer has a reward."""
    return {} if spec is None else spec.model_dump(mode="json", exclude=set(INTAKE), exclude_none=True)


def problems(feedback: object, low: float, high: float) -> Iterator[FieldError]:
    """The rewards of answers outside the bounds of the reward, of all those that can be read.

    :param feedback: the JSON of a schema.
    """
    worths: JsonObject = {}
    for name in ("dismissed", "not_interested", "thumbs", "score", "stars", "reasons"):
        worth = feedback.get(name) if isinstance(feedback, dict) else None
        if isinstance(worth, dict):
            worths |= {f"{name}/{part}": value for part, value in worth.items()}
        elif isinstance(worth, list):
            worths |= {f"{name}/{index}": value for index, value in enumerate(worth)}
        else:
            worths[name] = worth
    for path, value in worths.items():
        number = _NUMBER.of(value)
        if number is not None and not low <= number <= high:
            yield FieldError(f"/feedback/{path}", "worth_out_of_range", {"low": low, "high": high})
