"""Every method of the clients, without any I/O: arguments in, a request and what its ends mean out.

A new route is one function here and one line in each client.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

from loopwise_client.errors import REFUSALS, FieldError, LoopwiseUnavailable, Refused
from loopwise_client.model import Action, Decision, Ineligible, Question, Ranked, Receipt, Reward, new_id
from loopwise_client.retry import RETRIED, Failed, retry_after_s

T = TypeVar("T")
SHOWN = 200  # characters of a foreign server's answer in an error


class Deadlines(NamedTuple):
    """What a call may cost in all, in seconds, unless it says otherwise."""

    decide_s: float
    report_s: float  # rewards and activations


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, which is the same at every attempt, and what its ends mean."""

    path: str
    body: bytes
    deadline_s: float
    read: Callable[[Any], T]  # the parsed answer
    instead: Callable[[LoopwiseUnavailable], T]  # what to return without an answer, or raises the error


@dataclass(frozen=True, slots=True)
class Ready(Generic[T]):
    """What is known without asking, or was answered."""

    value: T


Plan = Call[T] | Ready[T]


def decide(
    deadlines: Deadlines,
    experiment: str,
    unit_id: str,
    *,
    context: Mapping[str, Any] | None = None,
    actions: Sequence[Action | Mapping[str, Any]] | None = None,
    excluded_actions: Sequence[str] = (),
    decision_id: str | None = None,
    default: Action | str | None = None,
    defer_activation: bool = False,
    deadline_s: float | None = None,
) -> Plan[Decision]:
    """Choose an action; the arguments are those of ``Question``.

    Without an answer within the deadline it is ``default``, with ``logged`` False.

    :raises LoopwiseUnavailable: no answer, and no default was given.
    :raises Refused: the server says no; the default does not hide that.
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
    )
    return Call(
        path="/v1/decide",
        body=_json(_asked(question)),
        deadline_s=_deadline(deadline_s, deadlines.decide_s),
        read=_decision,
        instead=lambda error: _default(question, error),
    )


def decide_batch(
    deadlines: Deadlines, questions: Sequence[Question], *, deadline_s: float | None = None
) -> Plan[list[Decision]]:
    """Up to 1,000 decisions in one commit: all, or none. Without an answer each question's default, if all have one.

    :raises LoopwiseUnavailable: no answer, and a question without default.
    :raises Refused: the server says no.
    """
    if not questions:
        return Ready([])
    return Call(
        path="/v1/decide/batch",
        body=_json({"decisions": [_asked(question) for question in questions]}),
        deadline_s=_deadline(deadline_s, deadlines.decide_s),
        read=lambda answer: [_decision(one) for one in _as_many(answer["decisions"], questions)],
        instead=lambda error: [_default(question, error) for question in questions],
    )


def reward(
    deadlines: Deadlines,
    decision: Decision | str,
    value: float,
    *,
    metric: str = "reward",
    reward_id: str | None = None,
    occurred_at: datetime | None = None,
    deadline_s: float | None = None,
) -> Plan[Receipt]:
    """Report what a decision was worth; for a default nothing is sent and the receipt's ``logged`` is False.

    :param decision: the decision, or its id.
    :param reward_id: your own id of the event: sending it again, now or next week, counts once.
    :raises LoopwiseUnavailable: no answer within the deadline; send it again with the same ``reward_id``.
    :raises Refused: the server says no.
    """
    event = Reward(decision, value, metric, reward_id or new_id(), occurred_at)
    if _unknown(event):
        return Ready(_not_sent(event))
    deadline_s = _deadline(deadline_s, deadlines.report_s)
    return Call("/v1/reward", _json(_event(event)), deadline_s, _receipt, _give_up)


def reward_batch(
    deadlines: Deadlines, rewards: Sequence[Reward], *, deadline_s: float | None = None
) -> Plan[list[Receipt]]:
    """Up to 1,000 rewards in one commit: all, or none. Those for defaults are not sent, as in ``reward``.

    :raises LoopwiseUnavailable: no answer within the deadline; sending the same ``Reward`` values again counts once.
    :raises Refused: the server says no.
    """
    sent = [event for event in rewards if not _unknown(event)]
    if not sent:
        return Ready([_not_sent(event) for event in rewards])

    def read(answer: Any) -> list[Receipt]:
        receipts = iter([_receipt(one) for one in _as_many(answer["rewards"], sent)])
        return [_not_sent(event) if _unknown(event) else next(receipts) for event in rewards]

    body = _json({"rewards": [_event(event) for event in sent]})
    return Call("/v1/rewards/batch", body, _deadline(deadline_s, deadlines.report_s), read, _give_up)


def activate(deadlines: Deadlines, decision: Decision | str, *, deadline_s: float | None = None) -> Plan[bool]:
    """A deferred decision was shown: its reward window opens now. For a default nothing is sent.

    :returns: True when this opened the window; False when it was open already, or for a default. After a retry
        it may be False although an earlier attempt of the same call opened it.
    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server says no.
    """
    if isinstance(decision, Decision) and not decision.logged:
        return Ready(False)
    name = quote(_id(decision), safe="").replace(".", "%2E")  # "." and ".." are ids too, not steps of a path
    deadline_s = _deadline(deadline_s, deadlines.report_s)
    return Call(f"/v1/decisions/{name}/activate", b"", deadline_s, lambda answer: bool(answer["activated"]), _give_up)


def read(call: Call[T], status: int, retry_after: str | None, raw: bytes, now: datetime) -> Ready[T] | Failed:
    """What an answer means.

    :raises Refused: a 4xx other than 429.
    """
    document = _parsed(raw)
    if 200 <= status < 300:
        try:
            return Ready(call.read(document))
        except (KeyError, TypeError, ValueError, AttributeError):
            return Failed(f"the answer is not one of Loopwise: {raw[:SHOWN]!r}", again=False)
    problem = document if isinstance(document, dict) else {}
    code = str(problem.get("code", "unknown"))  # an answer of a proxy has none
    detail = str(problem.get("detail", repr(raw[:SHOWN])))
    if 400 <= status < 500 and status not in RETRIED:
        raise REFUSALS.get(status, Refused)(status, code, detail, _errors(problem))
    reason = f"the server answered {status} {code}: {detail}"
    return Failed(reason, status in RETRIED, retry_after_s(retry_after, now))


def _asked(question: Question) -> dict[str, Any]:
    """A question as the API reads it; what was not given is left out."""
    if isinstance(question.excluded_actions, str):
        raise TypeError("excluded_actions is a list of ids, not one id")
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
    return body


def _action(action: Action | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(action, Action):
        return {"id": action.id, "features": action.features, "payload": action.payload}
    return dict(action)


def _decision(answer: Any) -> Decision:
    return Decision(
        decision_id=answer["decision_id"],
        action_id=answer["action"]["id"],
        payload=answer["action"].get("payload"),
        logged=True,
        arm=answer["arm"],
        propensity=float(answer["propensity"]),
        ranking=tuple(Ranked(one["id"], float(one["probability"])) for one in answer["ranking"]),
        policy_version=int(answer["policy_version"]),
        ineligible=tuple(Ineligible(one["id"], one["reason"]) for one in answer["ineligible"]),
    )


def _default(question: Question, error: LoopwiseUnavailable) -> Decision:
    """The given default; one that is only an id takes its payload from the call's candidates.

    :raises LoopwiseUnavailable: there is none.
    """
    default = question.default
    if default is None:
        raise error
    if isinstance(default, str):
        named = [action for action in map(_action, question.actions or ()) if action.get("id") == default]
        default = Action(default, payload=named[0].get("payload") if named else None)
    return Decision(question.decision_id, default.id, default.payload, logged=False, reason=error.reason)


def _event(event: Reward) -> dict[str, Any]:
    body: dict[str, Any] = {
        "decision_id": _id(event.decision),
        "value": float(event.value),
        "reward_id": event.reward_id,
        "metric": event.metric,
    }
    if event.occurred_at is not None:
        if event.occurred_at.utcoffset() is None:
            raise ValueError("occurred_at needs a time zone, such as datetime.now(UTC)")
        body["occurred_at"] = event.occurred_at.astimezone(UTC).isoformat()
    return body


def _receipt(answer: Any) -> Receipt:
    return Receipt(
        decision_id=answer["decision_id"],
        reward_id=answer["reward_id"],
        metric=answer["metric"],
        value=float(answer["value"]),
        logged=True,
        occurred_at=datetime.fromisoformat(answer["occurred_at"]),
        received_at=datetime.fromisoformat(answer["received_at"]),
        late=bool(answer["late"]),
    )


def _unknown(event: Reward) -> bool:
    """Whether the decision is a default, which the server may not have."""
    return isinstance(event.decision, Decision) and not event.decision.logged


def _not_sent(event: Reward) -> Receipt:
    return Receipt(_id(event.decision), event.reward_id, event.metric, float(event.value), logged=False)


def _id(decision: Decision | str) -> str:
    return decision.decision_id if isinstance(decision, Decision) else decision


def _give_up(error: LoopwiseUnavailable) -> NoReturn:
    raise error


def _as_many(answers: list[Any], asked: Sequence[object]) -> list[Any]:
    if len(answers) != len(asked):
        raise ValueError("not one answer for each question")
    return answers


def _deadline(given: float | None, usual: float) -> float:
    deadline_s = usual if given is None else given
    if not (isfinite(deadline_s) and deadline_s > 0):
        raise ValueError("a deadline is a number of seconds above 0")
    return deadline_s


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _errors(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    found = problem.get("errors")
    fields = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return tuple(FieldError(str(one.get("path", "")), str(one.get("message", ""))) for one in fields)
