"""The newest call and the newest reward of an experiment. Each part reads one row of an index, however long the log is."""

from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, text

from app.foundation.store.fragments import LATER_POSITION


class Call(NamedTuple):
    """A decision, as the app that asked for it knows it."""

    decision_id: str
    unit_id: str
    arm: str
    action: str
    at: datetime


class Report(NamedTuple):
    """A reward, as the app reported it."""

    metric: str
    value: float
    at: datetime


class Arrivals(NamedTuple):
    """What arrived for an experiment so far."""

    first_at: datetime | None  # of the first decision; null: none was made
    call: Call | None  # the newest
    report: Report | None  # the newest


_CONTEXTS = text(
    f"""
    SELECT unit_id, context, {LATER_POSITION} IS NOT NULL AS later FROM decisions d
    WHERE experiment_id = :id AND erased_at IS NULL AND NOT coalesce('personalise' = ANY(withheld), false)
    ORDER BY decided_at DESC LIMIT :most
    """
)
_FIRST = text("SELECT min(decided_at) FROM decisions WHERE experiment_id = :id")
_CALL = text(
    """
    SELECT id AS decision_id, unit_id, arm, eligible[chosen + 1] AS action, decided_at AS at
    FROM decisions WHERE experiment_id = :id ORDER BY decided_at DESC LIMIT 1
    """
)
_REPORT = text(
    "SELECT metric, value, received_at AS at FROM rewards WHERE experiment_id = :id ORDER BY received_at DESC LIMIT 1"
)


def arrivals(connection: Connection, experiment_id: int) -> Arrivals:
    """What arrived for an experiment so far."""
    given = {"id": experiment_id}
    call, report = connection.execute(_CALL, given).first(), connection.execute(_REPORT, given).first()
    return Arrivals(
        connection.execute(_FIRST, given).scalar_one(),
        Call(**call._asdict()) if call else None,
        Report(**report._asdict()) if report else None,
    )


class SeenDecision(NamedTuple):
    """The context of a decision."""

    unit_id: str
    context: JsonValue
    later: bool  # it is a later position of a list


def contexts(connection: Connection, experiment_id: int, most: int) -> list[SeenDecision]:
    """The contexts of the newest decisions, without those of people who declined or were erased."""
    rows = connection.execute(_CONTEXTS, {"id": experiment_id, "most": most})
    return [SeenDecision(row.unit_id, row.context, row.later) for row in rows]
