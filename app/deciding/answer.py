"""What a decision answers, from its stored row: now, or again to a retry."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from pydantic import JsonValue

from app.content.composition import SlotAnswer, slots_of
from app.content.reasons import words
from app.deciding.store.decisions import LoggedReason, NewDecision, StoredDecision

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
    code: NotRequired[str]  # not in rows from before there were codes
    params: NotRequired[dict[str, JsonValue]]


class PositionAnswer(TypedDict):
    """One position of a list."""

    position: int  # from 1
    decision_id: str
    action: ActionAnswer
    propensity: float


class Answer(TypedDict):
    """What a decide call answers; ``app.foundation.api.answers`` describes it for callers."""

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


def answer_of(rows: Sequence[Row], payloads: Sequence[JsonValue], slots: int | None, *, composed: bool) -> Answer:
    """The answer of a decision, or of a list: the first position as a decision, and then every position.

    :param payloads: of the chosen actions.
    :param slots: the length that was asked for; null: no list was asked for.
    :param composed: the actions are combinations of a composed message.
    """
    answer = _decision(rows[0], payloads[0])
    if composed:
        answer["slots"] = slots_of(rows[0].eligible, rows[0].distribution, rows[0].chosen)
    if slots is not None:
        pairs = zip(rows, payloads, strict=True)
        answer["positions"] = [_position(number, row, payload) for number, (row, payload) in enumerate(pairs, start=1)]
        answer["unfilled"] = slots - len(rows)
    return answer


def _decision(row: Row, payload: JsonValue) -> Answer:
    others = sorted((i for i in range(len(row.eligible)) if i != row.chosen), key=lambda i: -row.distribution[i])
    return {
        "decision_id": row.id,
        "arm": row.arm,
        "action": {"id": row.eligible[row.chosen], "payload": payload},
        "propensity": row.propensity,
        "ranking": [{"id": row.eligible[i], "probability": row.distribution[i]} for i in (row.chosen, *others)],
        "policy_version": row.policy_version,
        "ineligible": [ineligible_answer(logged) for logged in row.ineligible or []],
    }


def ineligible_answer(logged: LoggedReason) -> IneligibleAnswer:
    """A logged reason with its words. Rows from before there were codes hold the words themselves."""
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
