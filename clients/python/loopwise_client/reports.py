"""The methods that report rewards, answers and events, without any I/O; see ``calls``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from loopwise_client import reading
from loopwise_client.model import (
    Decided,
    Decision,
    Event,
    EventReceipt,
    Feedback,
    FeedbackReceipt,
    Kind,
    Position,
    Receipt,
    Reward,
    new_id,
)
from loopwise_client.plan import Call, Deadlines, Plan, Ready, as_json, as_many, deadline, part, unavailable, utc

S = TypeVar("S", Reward, Feedback)
R = TypeVar("R")


def reward(
    deadlines: Deadlines,
    decision: Decided,
    value: float,
    *,
    metric: str = "reward",
    reward_id: str | None = None,
    occurred_at: datetime | None = None,
    deadline_s: float | None = None,
) -> Plan[Receipt]:
    """Report a reward of a decision; for a default nothing is sent and the receipt's ``logged`` is False.

    :param decision: the decision, a position of a list, a delivery, or an id.
    :param reward_id: your own id of the event: sending it again, now or next week, counts once.
    :raises LoopwiseUnavailable: no answer within the deadline; send it again with the same ``reward_id``.
    :raises Refused: the server refuses the request.
    """
    event = Reward(decision, value, metric, reward_id or new_id(), occurred_at)
    if _unknown(decision):
        return Ready(_no_reward(event))
    body = as_json(_reward(event))
    return Call("/v1/reward", body, deadline(deadline_s, deadlines.report_s), reading.receipt, unavailable)


def reward_batch(
    deadlines: Deadlines, rewards: Sequence[Reward], *, deadline_s: float | None = None
) -> Plan[list[Receipt]]:
    """Report up to 1,000 rewards in one commit: all, or none. Those for defaults are not sent, as in ``reward``.

    :raises LoopwiseUnavailable: no answer within the deadline; sending the same ``Reward`` values again counts once.
    :raises Refused: the server refuses the request.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return _batch(
        "/v1/rewards/batch", "rewards", rewards, deadline_s, write=_reward, read=reading.receipt, not_sent=_no_reward
    )


def feedback(
    deadlines: Deadlines,
    decision: Decided,
    kind: Kind,
    value: str | float | None = None,
    comment: str | None = None,
    *,
    feedback_id: str | None = None,
    occurred_at: datetime | None = None,
    deadline_s: float | None = None,
) -> Plan[FeedbackReceipt]:
    """Report a person's answer to a decision; for a default nothing is sent and the receipt's ``logged`` is False.

    :param value: thumbs: "up" or "down"; stars: 1 to 5; score: 0 to 10; reason: its name; other kinds have none.
    :param comment: in their own words; every kind may have one.
    :param feedback_id: your own id of the answer: sending it again counts once.
    :raises LoopwiseUnavailable: no answer within the deadline, or the unit gave too many (429) and may give the next
        answer after ``retry_after_s``. Send it again with the same ``feedback_id``.
    :raises Refused: the server refuses the request.
    """
    answer = Feedback(decision, kind, value, comment, feedback_id or new_id(), occurred_at)
    if _unknown(decision):
        return Ready(_no_feedback(answer))
    body = as_json(_feedback(answer))
    return Call("/v1/feedback", body, deadline(deadline_s, deadlines.report_s), reading.feedback_receipt, unavailable)


def feedback_batch(
    deadlines: Deadlines, feedback: Sequence[Feedback], *, deadline_s: float | None = None
) -> Plan[list[FeedbackReceipt]]:
    """Report up to 1,000 answers in one commit: all, or none. Those for defaults are not sent, as in ``feedback``.

    :raises LoopwiseUnavailable: no answer within the deadline; sending the same ``Feedback`` values again counts once.
    :raises Refused: the server refuses the request.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    read = reading.feedback_receipt
    return _batch(
        "/v1/feedback/batch", "feedback", feedback, deadline_s, write=_feedback, read=read, not_sent=_no_feedback
    )


def activate(deadlines: Deadlines, decision: Decided, *, deadline_s: float | None = None) -> Plan[bool]:
    """Report that a deferred decision was shown: its reward window opens now. For a default nothing is sent.

    :returns: True when this opened the window; False when it was open already, or for a default. After a retry
        it may be False although an earlier attempt of the same call opened it.
    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request.
    """
    if _unknown(decision):
        return Ready(False)
    path = f"/v1/decisions/{part(_id(decision))}/activate"
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(path, b"", deadline_s, lambda answer: bool(answer["activated"]), unavailable)


def received(deadlines: Deadlines, decision: Decided, *, deadline_s: float | None = None) -> Plan[bool]:
    """Report that a held message was shown, so that ``pending`` does not return it any more.

    :param decision: the delivery, or the id of its decision.
    :returns: True when this call took it off the list; False when it was off already, possibly by an earlier attempt.
    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request; ``NotFound`` if no message is held under that decision.
    """
    if _unknown(decision):
        return Ready(False)
    path = f"/v1/messages/{part(_id(decision))}/received"
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(path, b"", deadline_s, lambda answer: bool(answer["received"]), unavailable)


def event(
    deadlines: Deadlines,
    unit_id: str,
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    event_id: str | None = None,
    occurred_at: datetime | None = None,
    deadline_s: float | None = None,
) -> Plan[EventReceipt]:
    """Report something that a unit did, such as lesson-done; triggers may follow.

    :param event_id: your own id of the event: sending it again, now or next week, counts once.
    :raises LoopwiseUnavailable: no answer within the deadline; send it again with the same ``event_id``.
    :raises Refused: the server refuses the request.
    """
    happened = Event(unit_id, name, properties or {}, event_id or new_id(), occurred_at)
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(
        "/v1/events", _events([happened]), deadline_s, lambda answer: _receipts(answer, [happened])[0], unavailable
    )


def events(
    deadlines: Deadlines, events: Sequence[Event], *, deadline_s: float | None = None
) -> Plan[list[EventReceipt]]:
    """Report up to 1,000 events in one commit: all, or none.

    :raises LoopwiseUnavailable: no answer within the deadline; sending the same ``Event`` values again counts once.
    :raises Refused: the server refuses the request.
    """
    if not events:
        return Ready([])
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/events", _events(events), deadline_s, lambda answer: _receipts(answer, events), unavailable)


def _batch(
    path: str,
    name: str,
    reports: Sequence[S],
    deadline_s: float,
    *,
    write: Callable[[S], dict[str, Any]],
    read: Callable[[Any], R],
    not_sent: Callable[[S], R],
) -> Plan[list[R]]:
    """Several reports in one body. Reports for defaults are not sent, and get a receipt at their position."""
    sent = [report for report in reports if not _unknown(report.decision)]
    if not sent:
        return Ready([not_sent(report) for report in reports])

    def merged(answer: Any) -> list[R]:
        receipts = iter([read(receipt) for receipt in as_many(answer[name], sent)])
        return [not_sent(report) if _unknown(report.decision) else next(receipts) for report in reports]

    return Call(path, as_json({name: [write(report) for report in sent]}), deadline_s, merged, unavailable)


def _reward(event: Reward) -> dict[str, Any]:
    body: dict[str, Any] = {
        "decision_id": _id(event.decision),
        "value": float(event.value),
        "reward_id": event.reward_id,
        "metric": event.metric,
    }
    return body | _when(event.occurred_at)


def _feedback(answer: Feedback) -> dict[str, Any]:
    body: dict[str, Any] = {
        "decision_id": _id(answer.decision),
        "kind": answer.kind,
        "value": answer.value,
        "comment": answer.comment,
        "feedback_id": answer.feedback_id,
    }
    return body | _when(answer.occurred_at)


def _events(events: Sequence[Event]) -> bytes:
    return as_json({"events": [_event(event) for event in events]})


def _event(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = {
        "unit_id": event.unit_id,
        "name": event.name,
        "properties": dict(event.properties),
        "event_id": event.event_id,
    }
    return body | _when(event.occurred_at)


def _receipts(answer: Any, events: Sequence[Event]) -> list[EventReceipt]:
    return [reading.event_receipt(receipt) for receipt in as_many(answer["events"], events)]


def _when(occurred_at: datetime | None) -> dict[str, str]:
    return {} if occurred_at is None else {"occurred_at": utc(occurred_at)}


def _unknown(decision: Decided) -> bool:
    """Whether the decision is a default, which the server may not have."""
    return isinstance(decision, (Decision, Position)) and not decision.logged


def _no_reward(event: Reward) -> Receipt:
    return Receipt(_id(event.decision), event.reward_id, event.metric, float(event.value), logged=False)


def _no_feedback(answer: Feedback) -> FeedbackReceipt:
    return FeedbackReceipt(
        _id(answer.decision), answer.feedback_id, answer.kind, answer.value, answer.comment, logged=False
    )


def _id(decision: Decided) -> str:
    return decision if isinstance(decision, str) else decision.decision_id
