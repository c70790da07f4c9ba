"""What people said of a decision, as reward events: one for each kind of answer that the feedback schema gives a worth.

A schema is JSON that a person wrote, an experiment's ``feedback``: the worth of each kind in reward units, and a
confidence. Hence the ``Any`` here. A kind without a worth is stored elsewhere and counts for nothing here.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from bandits.rewards import RewardEvent

TOP_SCORE: Final = 10

AnswerValue = str | int | float | None


class Answer(NamedTuple):
    """One answer of one decision."""

    kind: str  # thumbs, stars, score, reason, comment, dismissed, not_interested
    value: AnswerValue  # "up" or "down"; 1 to 5; 0 to 10; the reason's name; null
    occurred_at: datetime  # all answers of a call are timezone-aware, or none is
    feedback_id: str  # breaks ties of occurred_at, so that the order is total


def worth(schema: Mapping[str, Any], kind: str, value: AnswerValue) -> float | None:
    """An answer in reward units, as the schema says it; None when the schema has none for it."""
    found = (schema.get("reasons") or {}).get(value) if kind == "reason" else schema.get(kind)
    if found is None:
        return None
    if kind in ("reason", "dismissed", "not_interested"):
        return float(found)
    if kind == "thumbs":
        return float(found[value])
    if kind == "stars":
        return float(found[cast(int, value) - 1])
    if kind == "score":
        share = float(cast(float, value)) / TOP_SCORE
        return float(found["low"]) * (1 - share) + float(found["high"]) * share
    return None


def contribution(schema: Mapping[str, Any], kind: str, value: AnswerValue, default: float) -> float | None:
    """The worth, pulled towards the reward's default by what the confidence leaves: default + confidence * (worth - default)."""
    found = worth(schema, kind, value)
    if found is None:
        return None
    return default + float(schema.get("confidence", 1.0)) * (found - default)


def counted(answers: Iterable[Answer]) -> list[Answer]:
    """Of several answers of one kind the last by (occurred_at, feedback_id), whatever the order of arrival."""
    last: dict[str, Answer] = {}
    for one in sorted(answers, key=lambda one: (one.occurred_at, one.feedback_id)):
        last[one.kind] = one
    return [last[kind] for kind in sorted(last)]


def reward_events(schema: Mapping[str, Any], answers: Iterable[Answer], default: float) -> list[RewardEvent]:
    """The counted answers as reward events, to be joined with those that the app reported."""
    found = []
    for one in counted(answers):
        value = contribution(schema, one.kind, one.value, default)
        if value is not None:
            found.append(RewardEvent(value, one.occurred_at, f"feedback {one.feedback_id}"))
    return found


def explicit_worth(schema: Mapping[str, Any], answers: Iterable[Answer]) -> float | None:
    """The mean worth of the counted answers, before confidence; None when none has a worth."""
    values = [found for one in counted(answers) if (found := worth(schema, one.kind, one.value)) is not None]
    return sum(values) / len(values) if values else None
