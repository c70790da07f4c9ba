"""Stores candidate policies, what was asked of them, and finds what evaluations said of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, bindparam, delete, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from app.foundation.store import tables
from app.off_policy.documents import PolicyLine

_c = tables.candidates


def put(connection: Connection, experiment_id: int, key: str, definition: Mapping[str, JsonValue]) -> None:
    """Store a candidate, or replace the candidate with that key, which then waits for nothing."""
    query = upsert(_c).values(experiment_id=experiment_id, key=key, definition=definition)
    columns = ["experiment_id", "key"]
    connection.execute(
        query.on_conflict_do_update(index_elements=columns, set_={"definition": definition, "staging": None})
    )


def remove(connection: Connection, experiment_id: int, key: str) -> None:
    """Remove a candidate. Evaluations that are done keep their lines."""
    connection.execute(delete(_c).where(_c.c.experiment_id == experiment_id, _c.c.key == key))


def of_experiment(connection: Connection, experiment_id: int) -> list[dict[str, JsonValue]]:
    """Definitions of the stored candidates, oldest first."""
    query = select(_c.c.definition).where(_c.c.experiment_id == experiment_id).order_by(_c.c.created_at, _c.c.key)
    return [dict(row) for row in connection.execute(query).scalars()]


class Waiting(NamedTuple):
    """A candidate that waits for the worker to give it its model and its arm."""

    experiment_id: int
    key: str


def staging(connection: Connection, experiment_id: int, key: str) -> dict[str, JsonValue] | None:
    """What a person asked for when they staged a candidate; null: nobody did, or it is an arm."""
    query = select(_c.c.staging).where(_c.c.experiment_id == experiment_id, _c.c.key == key)
    return connection.execute(query).scalar()


def set_staging(connection: Connection, experiment_id: int, key: str, asked: Mapping[str, JsonValue] | None) -> None:
    """Store what a person asked for, or that nothing waits any more."""
    query = update(_c).where(_c.c.experiment_id == experiment_id, _c.c.key == key)
    connection.execute(query.values(staging=bindparam("asked", type_=JSONB(none_as_null=True))), {"asked": asked})


def waiting(connection: Connection) -> list[Waiting]:
    """The candidates that wait, oldest first."""
    query = """
        SELECT experiment_id, key FROM candidates WHERE staging IS NOT NULL AND staging->>'problem' IS NULL
        ORDER BY staging->>'asked_at'
    """
    return [Waiting(row.experiment_id, row.key) for row in connection.execute(text(query))]


_VALUED = text(
    """
    SELECT e.id, e.request, line->'model' AS model FROM evaluations e
    CROSS JOIN LATERAL jsonb_array_elements(e.result->'policies') line
    WHERE e.experiment_id = :experiment_id AND e.status = 'done' AND line->>'policy' = :key
      AND jsonb_typeof(line->'model') = 'object' ORDER BY e.id DESC LIMIT 1
    """
)


class ValuedCandidate(NamedTuple):
    """The newest evaluation that valued a model of a candidate."""

    evaluation_id: int
    request: dict[str, JsonValue]
    model: dict[str, JsonValue]


def valued(connection: Connection, experiment_id: int, key: str) -> ValuedCandidate | None:
    """The newest evaluation with a model of this candidate; null: there is none."""
    row = connection.execute(_VALUED, {"experiment_id": experiment_id, "key": key}).first()
    return None if row is None else ValuedCandidate(*row)


_NEWEST_LINE = text(
    """
    SELECT e.finished_at, line FROM evaluations e CROSS JOIN LATERAL jsonb_array_elements(e.result->'policies') line
    WHERE e.experiment_id = :experiment_id AND e.status = 'done' AND line->>'policy' = :key ORDER BY e.id DESC LIMIT 1
    """
)


class EvaluatedLine(NamedTuple):
    """What an evaluation said of one policy."""

    finished_at: datetime
    line: PolicyLine


def newest_line(connection: Connection, experiment_id: int, key: str) -> EvaluatedLine | None:
    """The line of a candidate in the newest evaluation that has one; null: it was never evaluated."""
    row = connection.execute(_NEWEST_LINE, {"experiment_id": experiment_id, "key": key}).first()
    return None if row is None else EvaluatedLine(row.finished_at, PolicyLine.model_validate(row.line))
