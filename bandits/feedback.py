"""Answers of people as reward events: one event for each kind of answer to which the feedback schema gives a worth.

A schema is an experiment's ``feedback``: the worth of each kind in reward units, and a confidence. It is JSON that a
person wrote, which is why it is typed with ``Any``. An answer without a worth does not count.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from bandits.rewards import RewardEvent

TOP_SCORE: Final = 10

AnswerValue = str | int | float | None


class Answer(NamedTuple):
    """An answer about a decision."""

    kind: str  # thumbs, stars, score, reason, comment, dismissed, not_interested
    value: AnswerValue  # "up" or "down"; 1 to 5; 0 to 10; the reason's name; null
    occurred_at: datetime  # all answers of a call are timezone-aware, or none is
    feedback_id: str  # breaks ties of occurred_at, so that the order is total


def worth(schema: Mapping[str, Any], kind: str, value: AnswerValue) -> float | None:
    """An answer in reward units; None when the schema gives it no worth."""
    entry = (schema.get("reasons") or {}).get(value) if kind == "reason" else schema.get(kind)
    if entry is None:
        return None
    if kind in ("reason", "dismissed", "not_interested"):
        return float(entry)
    if kind == "thumbs":
        return float(entry[value])
    if kind == "stars":
        return float(entry[cast(int, value) - 1])
    if kind == "score":
        share = float(cast(float, value)) / TOP_SCORE
        return float(entry["low"]) * (1 - share) + float(entry["high"]) * share
    return None


def contribution(schema: Mapping[str, Any], kind: str, value: AnswerValue, default: float) -> float | None:
    """The worth, shrunk towards the reward's default: default + confidence * (worth - default)."""
    answer_worth = worth(schema, kind, value)
    if answer_worth is None:
        return None
    return default + float(schema.get("confidence", 1.0)) * (answer_worth - default)


def counted(answers: Iterable[Answer]) -> list[Answer]:
    """The last answer of each kind by (occurred_at, feedback_id), whatever the order of arrival."""
    last: dict[str, Answer] = {}
    for answer in sorted(answers, key=lambda answer: (answer.occurred_at, answer.feedback_id)):
        last[answer.kind] = answer
    return [last[kind] for kind in sorted(last)]


def reward_events(schema: Mapping[str, Any], answers: Iterable[Answer], default: float) -> list[RewardEvent]:
    """The counted answers as reward events, to be joined with the rewards that the app reported."""
    events = []
    for answer in counted(answers):
        value = contribution(schema, answer.kind, answer.value, default)
        if value is not None:
            events.append(RewardEvent(value, answer.occurred_at, f"feedback {answer.feedback_id}"))
    return events


def explicit_worth(schema: Mapping[str, Any], answers: Iterable[Answer]) -> float | None:
    """The mean worth of the counted answers, before shrinkage; None when no answer has a worth."""
    values = [
        answer_worth
        for answer in counted(answers)
        if (answer_worth := worth(schema, answer.kind, answer.value)) is not None
    ]
    return sum(values) / len(values) if values else None
