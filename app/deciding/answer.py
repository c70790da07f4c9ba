"""Build the answer to a decide call from the stored row, for the first call and for a retry."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from pydantic import JsonValue

from app.content.composition import SlotAnswer, slots_of
from app.content.reasons import words
from app.deciding.store.decisions import LoggedReason, NewDecision, StoredDecision
from app.foundation.store.fragments import TRIAL

Row = NewDecision | StoredDecision


class ActionAnswer(TypedDict):
    """The chosen action."""

    id: str
    payload: JsonValue


class RankedAnswer(TypedDict):
    """One eligible action."""

    id: str
    probability: float


class IneligibleAnswer(TypedDict):
    """One action that could not be chosen."""

    id: str
    reason: str  # in words
    code: NotRequired[str]  # missing in rows from before the codes existed
    params: NotRequired[dict[str, JsonValue]]


class PositionAnswer(TypedDict):
    """One position of a list."""

    position: int  # from 1
    decision_id: str
    action: ActionAnswer
    propensity: float


class Answer(TypedDict):
    """The answer to a decide call; ``app.deciding.api.answers`` describes it for callers."""

    decision_id: str
    arm: str
    action: ActionAnswer
    propensity: float
    ranking: list[RankedAnswer]  # the chosen action first, then the others from likely to unlikely
    policy_version: int
    ineligible: list[IneligibleAnswer]
    slots: NotRequired[list[SlotAnswer]]  # of a composed message
    positions: NotRequired[list[PositionAnswer]]  # of a list
    unfilled: NotRequired[int]  # positions for which no action was left
    test: NotRequired[bool]  # true: a trial


def answer_of(rows: Sequence[Row], payloads: Sequence[JsonValue], slots: int | None, *, composed: bool) -> Answer:
    """Return the answer of a decision. The answer of a list is that of its first position, with all positions added.

    :param rows: one per position; a single decision has one row.
    :param payloads: the payloads of the chosen actions, one per row.
    :param slots: the requested length of the list; None if the call requests a single decision.
    :param composed: True if the actions are combinations of a composed message.
    """
    answer = _decision(rows[0], payloads[0])
    if rows[0].state == TRIAL:
        answer["test"] = True
    if composed:
        answer["slots"] = slots_of(rows[0].eligible, rows[0].distribution, rows[0].chosen)
    if slots is not None:
        pairs = zip(rows, payloads, strict=True)
        answer["positions"] = [_position(number, row, payload) for number, (row, payload) in enumerate(pairs, start=1)]
        answer["unfilled"] = slots - len(rows)
    return answer


def _decision(row: Row, payload: JsonValue) -> Answer:
    eligible, chances, chosen = row.eligible, row.distribution, row.chosen
    order = sorted(range(len(eligible)), key=chances.__getitem__, reverse=True)  # equal ones stay in their order
    order.remove(chosen)
    return {
        "decision_id": row.id,
        "arm": row.arm,
        "action": {"id": eligible[chosen], "payload": payload},
        "propensity": row.propensity,
        "ranking": [{"id": eligible[i], "probability": chances[i]} for i in (chosen, *order)],
        "policy_version": row.policy_version,
        "ineligible": [ineligible_answer(logged) for logged in row.ineligible or []],
    }


def ineligible_answer(logged: LoggedReason) -> IneligibleAnswer:
    """Add words to a logged reason. Rows from before the codes existed hold the words themselves."""
    if "code" not in logged:
        return {"id": logged["id"], "reason": logged["reason"]}
    code, params = logged["code"], logged["params"]
    return {"id": logged["id"], "reason": words(code, params), "code": code, "params": params}


def _position(number: int, row: Row, payload: JsonValue) -> PositionAnswer:
    return {
        "position": number,
        "decision_id": row.id,
        "action": {"id": row.eligible[row.chosen], "payload": payload},
        "propensity": row.propensity,
    }
