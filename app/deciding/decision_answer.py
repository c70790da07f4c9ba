"""What a decision answers, from its stored row: now, or again to a retry."""

from collections.abc import Sequence
from typing import Any

from app.content.composition import slots_of
from app.deciding.store.decisions import NewDecision
from app.foundation.store.engine import AnyRow

Row = NewDecision | AnyRow


def answer_of(rows: Sequence[Row], payloads: Sequence[Any], slots: int | None, composed: bool) -> dict[str, Any]:
    """The answer of a decision, or of a list, which tells the first position as a decision and then every position.

    :param payloads: of the chosen actions.
    :param slots: how long the list was to be; null: no list was asked for.
    :param composed: the actions are combinations of a composed message.
    """
    answer = _decision(rows[0], payloads[0])
    if composed:
        answer["slots"] = slots_of(rows[0].eligible, rows[0].distribution, rows[0].chosen)
    if slots is not None:
        pairs = zip(rows, payloads, strict=True)
        answer["positions"] = [_position(place, row, payload) for place, (row, payload) in enumerate(pairs, start=1)]
        answer["unfilled"] = slots - len(rows)
    return answer


def _decision(row: Row, payload: Any) -> dict[str, Any]:
    others = sorted((i for i in range(len(row.eligible)) if i != row.chosen), key=lambda i: -row.distribution[i])
    return {
        "decision_id": row.id,
        "arm": row.arm,
        "action": {"id": row.eligible[row.chosen], "payload": payload},
        "propensity": row.propensity,
        "ranking": [{"id": row.eligible[i], "probability": row.distribution[i]} for i in (row.chosen, *others)],
        "policy_version": row.policy_version,
        "ineligible": row.ineligible or [],
    }


def _position(place: int, row: Row, payload: Any) -> dict[str, Any]:
    return {
        "position": place,
        "decision_id": row.id,
        "action": {"id": row.eligible[row.chosen], "payload": payload},
        "propensity": row.propensity,
    }
