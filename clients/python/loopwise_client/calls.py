"""The methods that ask for decisions and messages, without any I/O: arguments in, a request and its possible results out.

A new route is one function here, in ``reports`` or in ``people_calls``, and one line in each client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopwise_client import reading
from loopwise_client.errors import LoopwiseUnavailable
from loopwise_client.model import (
    Action,
    Channel,
    Decision,
    Default,
    Delivery,
    MessageDecision,
    Position,
    Question,
    new_id,
)
from loopwise_client.plan import Call, Deadlines, Plan, Ready, as_json, as_many, deadline, part, unavailable


def decide(
    deadlines: Deadlines,
    experiment: str,
    unit_id: str,
    *,
    context: Mapping[str, Any] | None = None,
    actions: Sequence[Action | Mapping[str, Any]] | None = None,
    excluded_actions: Sequence[str] = (),
    decision_id: str | None = None,
    default: Default | None = None,
    defer_activation: bool = False,
    slots: int | None = None,
    time_zone: str | None = None,
    test: bool = False,
    deadline_s: float | None = None,
) -> Plan[Decision]:
    """Choose an action, or with ``slots`` a list of different ones (``positions``); the arguments are those of ``Question``.

    Without an answer within the deadline the result is ``default``, with ``logged`` False.

    :raises LoopwiseUnavailable: no answer, and no default was given.
    :raises Refused: the server refuses the request; a default does not hide that.
    """
    question = Question(
        experiment=experiment,
        unit_id=unit_id,
        context=context or {},
        actions=actions,
        excluded_actions=excluded_actions,
        decision_id=decision_id or new_id(),
        default=default,
        defer_activation=defer_activation,
        slots=slots,
        time_zone=time_zone,
        test=test,
    )
    return Call(
        path="/v1/decide",
        body=as_json(_asked(question)),
        deadline_s=deadline(deadline_s, deadlines.decide_s),
        read=reading.decision,
        instead=lambda error: _default(question, error),
    )


def decide_batch(
    deadlines: Deadlines, questions: Sequence[Question], *, deadline_s: float | None = None
) -> Plan[list[Decision]]:
    """Make up to 1,000 decisions in one commit: all, or none. Without an answer, return each question's default, if all have one.

    :raises LoopwiseUnavailable: no answer, and a question without default.
    :raises Refused: the server refuses the request.
    """
    if not questions:
        return Ready([])
    return Call(
        path="/v1/decide/batch",
        body=as_json({"decisions": [_asked(question) for question in questions]}),
        deadline_s=deadline(deadline_s, deadlines.decide_s),
        read=lambda answer: [reading.decision(decision) for decision in as_many(answer["decisions"], questions)],
        instead=lambda error: [_default(question, error) for question in questions],
    )


def message(
    deadlines: Deadlines,
    experiment: str,
    unit_id: str,
    *,
    variables: Mapping[str, str | float | None] | None = None,
    locale: str | None = None,
    channel: Channel | None = None,
    time_zone: str | None = None,
    context: Mapping[str, Any] | None = None,
    excluded_actions: Sequence[str] = (),
    decision_id: str | None = None,
    defer_activation: bool = False,
    test: bool = False,
    deadline_s: float | None = None,
) -> Plan[MessageDecision]:
    """Choose a message and render it for a person. Without an answer the result is silence, with ``logged`` False.

    :param variables: values of the templates' placeholders for this person.
    :param locale: the person's language, such as de-AT; None: English.
    :param channel: the only channel that is available; None: any.
    :param time_zone: the person's, as Europe/Vienna; for quiet hours.
    :param test: True: a trial. It is decided and logged, and counts nowhere.
    :raises Refused: the server refuses the request.
    """
    question = Question(
        experiment=experiment,
        unit_id=unit_id,
        context=context or {},
        excluded_actions=excluded_actions,
        decision_id=decision_id or new_id(),
        defer_activation=defer_activation,
        time_zone=time_zone,
        test=test,
    )
    fields = {"variables": dict(variables) if variables else None, "locale": locale, "channel": channel}
    body = _asked(question) | {name: value for name, value in fields.items() if value is not None}
    return Call(
        path="/v1/messages/decide",
        body=as_json(body),
        deadline_s=deadline(deadline_s, deadlines.decide_s),
        read=reading.message_decision,
        instead=lambda error: MessageDecision(question.decision_id, "", None, logged=False, reason=error.reason),
    )


def pending(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[list[Delivery]]:
    """List the messages of triggers that are held for a unit, newest first: at most 50 of seven days; see ``received``.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request.
    """
    return Call(
        path=f"/v1/messages/pending?unit_id={part(unit_id)}",
        body=b"",
        deadline_s=deadline(deadline_s, deadlines.report_s),
        read=lambda answer: [reading.delivery(message) for message in answer["messages"]],
        instead=unavailable,
        method="GET",
    )


def _asked(question: Question) -> dict[str, Any]:
    """A question as the API reads it, without the fields that have no value."""
    if isinstance(question.excluded_actions, str):
        raise TypeError("excluded_actions is a list of ids, not one id")
    _defaults(question)
    body: dict[str, Any] = {
        "experiment": question.experiment,
        "unit_id": question.unit_id,
        "decision_id": question.decision_id,
        "context": dict(question.context),
    }
    if question.actions is not None:
        body["actions"] = [_action(action) for action in question.actions]
    if question.excluded_actions:
        body["excluded_actions"] = list(question.excluded_actions)
    if question.defer_activation:
        body["defer_activation"] = True
    if question.test:
        body["test"] = True
    optional = {"slots": question.slots, "time_zone": question.time_zone}
    return body | {name: value for name, value in optional.items() if value is not None}


def _action(action: Action | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(action, Action):
        return {"id": action.id, "features": action.features, "payload": action.payload}
    return dict(action)


def _defaults(question: Question) -> list[Action | str]:
    """The defaults to show without an answer, from the top; empty: the question has none."""
    default, most = question.default, question.slots or 1
    defaults = [default] if isinstance(default, (Action, str)) else list(default or ())
    if default is not None and not 0 < len(defaults) <= most:
        raise ValueError(f"give a default, or one for each position of a list: at most {most} here")
    return defaults


def _default(question: Question, error: LoopwiseUnavailable) -> Decision:
    """The decision with the question's default; a default that is only an id gets its payload from the call's candidates.

    :raises LoopwiseUnavailable: the question has no default.
    """
    payloads = {action.get("id"): action.get("payload") for action in map(_action, question.actions or ())}
    actions = [
        default if isinstance(default, Action) else Action(default, payload=payloads.get(default))
        for default in _defaults(question)
    ]
    if not actions:
        raise error
    own = question.decision_id
    shown = [
        Position(position, own if position == 1 else f"{own}#{position}", action.id, action.payload, logged=False)
        for position, action in enumerate(actions, start=1)
    ]
    return Decision(
        decision_id=own,
        action_id=actions[0].id,
        payload=actions[0].payload,
        logged=False,
        reason=error.reason,
        positions=tuple(shown) if question.slots is not None else (),
        unfilled=(question.slots or 1) - len(actions),
    )
