"""Reads the server's answers as values of ``model``. Another server's answer raises KeyError, TypeError or ValueError."""

from __future__ import annotations

from typing import Any, TypeVar

from loopwise_client.model import (
    Decision,
    Delivery,
    EventReceipt,
    FeedbackReceipt,
    Ineligible,
    Message,
    MessageDecision,
    PartChance,
    Position,
    Ranked,
    Receipt,
    Slot,
)
from loopwise_client.plan import moment

D = TypeVar("D", bound=Decision)


def decision(answer: Any) -> Decision:
    """A stored decision."""
    return _decision(Decision, answer)


def message_decision(answer: Any) -> MessageDecision:
    """A stored decision with its message; "message" must be there, if only as null."""
    stored = answer["message"]
    return _decision(MessageDecision, answer, message=None if stored is None else message(stored))


def message(answer: Any) -> Message:
    """A message for a person."""
    return Message(**{name: text(answer[name]) for name in Message._fields})


def delivery(answer: Any) -> Delivery:
    """A message of a trigger."""
    return Delivery(
        delivery_id=int(answer["delivery_id"]),
        decision_id=text(answer["decision_id"]),
        experiment=text(answer["experiment"]),
        unit_id=text(answer["unit_id"]),
        message=message(answer["message"]),
        created_at=moment(answer["created_at"]),
    )


def receipt(answer: Any) -> Receipt:
    """A stored reward."""
    return Receipt(
        decision_id=answer["decision_id"],
        reward_id=answer["reward_id"],
        metric=answer["metric"],
        value=float(answer["value"]),
        logged=True,
        occurred_at=moment(answer["occurred_at"]),
        received_at=moment(answer["received_at"]),
        late=bool(answer["late"]),
    )


def feedback_receipt(answer: Any) -> FeedbackReceipt:
    """A stored answer of a person."""
    return FeedbackReceipt(
        decision_id=answer["decision_id"],
        feedback_id=answer["feedback_id"],
        kind=answer["kind"],
        value=answer["value"],
        comment=answer["comment"],
        logged=True,
        occurred_at=moment(answer["occurred_at"]),
        received_at=moment(answer["received_at"]),
        late=bool(answer["late"]),
    )


def event_receipt(answer: Any) -> EventReceipt:
    """A stored event."""
    return EventReceipt(
        answer["event_id"], moment(answer["occurred_at"]), moment(answer["received_at"]), answer["ignored"]
    )


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _decision(kind: type[D], answer: Any, **more: Any) -> D:
    return kind(
        decision_id=answer["decision_id"],
        action_id=answer["action"]["id"],
        payload=answer["action"].get("payload"),
        logged=True,
        arm=answer["arm"],
        propensity=float(answer["propensity"]),
        ranking=tuple(Ranked(action["id"], float(action["probability"])) for action in answer["ranking"]),
        policy_version=int(answer["policy_version"]),
        ineligible=tuple(Ineligible(action["id"], action["reason"]) for action in answer["ineligible"]),
        positions=tuple(_position(position) for position in answer.get("positions") or ()),
        unfilled=int(answer.get("unfilled") or 0),
        slots=tuple(_slot(slot) for slot in answer.get("slots") or ()),
        test=bool(answer.get("test")),
        **more,
    )


def _position(answer: Any) -> Position:
    return Position(
        position=int(answer["position"]),
        decision_id=answer["decision_id"],
        action_id=answer["action"]["id"],
        payload=answer["action"].get("payload"),
        logged=True,
        propensity=float(answer["propensity"]),
    )


def _slot(answer: Any) -> Slot:
    chances = tuple(PartChance(part["part"], float(part["probability"])) for part in answer["distribution"])
    return Slot(answer["slot"], answer["part"], float(answer["propensity"]), float(answer["given_above"]), chances)
