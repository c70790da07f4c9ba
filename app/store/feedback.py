"""Explicit answers as they arrived, under the same gate as rewards; and the schemas that say what they are worth."""

from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, insert, select, text, update

from app.store import message_tables as tables

_f = tables.feedback
_s = tables.feedback_schemas


class NewFeedback(NamedTuple):
    """One answer to be stored."""

    decision_id: str
    feedback_id: str
    kind: str
    value: Any  # as given; null: the kind says it all
    comment: str | None
    occurred_at: datetime | None  # null: when it arrives


class StoredFeedback(NamedTuple):
    """One answer as stored."""

    decision_id: str
    feedback_id: str
    kind: str
    value: Any
    comment: str | None
    occurred_at: datetime
    received_at: datetime
    late: bool


class Answered(NamedTuple):
    """What must be known of a decision to take an answer for it."""

    id: str
    experiment_id: int
    unit_id: str


class Recent(NamedTuple):
    """What a unit said lately in one experiment."""

    answers: int
    frees_s: float  # seconds until the oldest of them leaves the window


_stored_columns = [_f.c[name] for name in StoredFeedback._fields]
_DECISIONS = text("SELECT id, experiment_id, unit_id FROM decisions WHERE id = ANY(:ids) AND erased_at IS NULL")
_INSERT = text(
    """
    INSERT INTO feedback (decision_id, feedback_id, experiment_id, unit_id, action, kind, value, comment,
        occurred_at, received_at, late)
    SELECT i.decision_id, i.feedback_id, d.experiment_id, d.unit_id, d.eligible[d.chosen + 1], i.kind, i.value, i.comment,
        coalesce(i.occurred_at, n.now), n.now, coalesce(n.now > d.closes_at, false)
    FROM json_to_recordset(:rows) AS i (
        decision_id text, feedback_id text, kind text, value json, comment text, occurred_at timestamptz)
    JOIN decisions d ON d.id = i.decision_id
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    ON CONFLICT (decision_id, feedback_id) DO NOTHING
    RETURNING decision_id, feedback_id, kind, value, comment, occurred_at, received_at, late
    """
)
_RECENT = text(
    """
    SELECT count(f.received_at) AS answers,
        coalesce(extract(epoch FROM min(f.received_at) - n.now)::float8 + q.window_s, 0) AS frees_s
    FROM json_to_recordset(:questions) AS q (place int, unit_id text, experiment_id bigint, window_s float8)
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    LEFT JOIN feedback f ON f.unit_id = q.unit_id AND f.experiment_id = q.experiment_id
      AND f.received_at > n.now - make_interval(secs => q.window_s)
    GROUP BY q.place, q.window_s, n.now ORDER BY q.place
    """
)


def decisions_of(connection: Connection, ids: list[str]) -> dict[str, Answered]:
    """The decisions of these ids that exist and were not erased."""
    return {row.id: Answered._make(row) for row in connection.execute(_DECISIONS, {"ids": ids})}


def find_many(connection: Connection, decision_ids: list[str]) -> dict[tuple[str, str], StoredFeedback]:
    """Every stored answer of these decisions, by (decision id, feedback id)."""
    query = select(*_stored_columns).where(_f.c.decision_id.in_(decision_ids))
    return {(row.decision_id, row.feedback_id): StoredFeedback._make(row) for row in connection.execute(query)}


def recent(connection: Connection, windows: dict[tuple[str, int], float]) -> dict[tuple[str, int], Recent]:
    """What units said in experiments within so many seconds. Hold the units first.

    :param windows: seconds by (unit, experiment id).
    """
    asked = [
        {"place": place, "unit_id": unit, "experiment_id": experiment_id, "window_s": window_s}
        for place, ((unit, experiment_id), window_s) in enumerate(windows.items())
    ]
    rows = connection.execute(_RECENT, {"questions": orjson.dumps(asked).decode()})
    return {place: Recent._make(row) for place, row in zip(windows, rows, strict=True)}


def insert_new(connection: Connection, rows: list[NewFeedback]) -> dict[tuple[str, str], StoredFeedback]:
    """Store answers, under the gate; returns those that are new."""
    documents = orjson.dumps([row._asdict() for row in rows]).decode()
    stored = connection.execute(_INSERT, {"rows": documents})
    return {(row.decision_id, row.feedback_id): StoredFeedback._make(row) for row in stored}


def of_decision(connection: Connection, decision_id: str, most: int) -> list[StoredFeedback]:
    """Answers of one decision, as they came."""
    query = select(*_stored_columns).where(_f.c.decision_id == decision_id)
    rows = connection.execute(query.order_by(_f.c.received_at, _f.c.feedback_id).limit(most))
    return [StoredFeedback._make(row) for row in rows]


class Schema(NamedTuple):
    """One version of an experiment's feedback schema."""

    version: int  # from 1
    schema: dict[str, Any]
    created_at: datetime
    applied_at: datetime | None  # null: outcomes and models do not follow it yet
    problem: str | None  # why the last try to apply it failed
    retry_at: datetime | None  # the next try; null: at once


NO_SCHEMA = 0  # the version of rewards to which no answer contributed


def newest_schema(connection: Connection, experiment_id: int, *, applied: bool = False) -> Schema | None:
    """The newest schema, or the newest that outcomes and models follow."""
    query = select(*[_s.c[name] for name in Schema._fields]).where(_s.c.experiment_id == experiment_id)
    if applied:
        query = query.where(_s.c.applied_at.is_not(None))
    row = connection.execute(query.order_by(_s.c.version.desc()).limit(1)).first()
    return None if row is None else Schema._make(row)


def applied_version(connection: Connection, experiment_id: int) -> int:
    """The version under which rewards are joined now."""
    found = newest_schema(connection, experiment_id, applied=True)
    return NO_SCHEMA if found is None else found.version


def schema_of(connection: Connection, experiment_id: int, version: int) -> dict[str, Any]:
    """One stored schema; they never change."""
    query = select(_s.c.schema).where(_s.c.experiment_id == experiment_id, _s.c.version == version)
    return dict(connection.execute(query).scalar_one())


def add_schema(connection: Connection, experiment_id: int, version: int, schema: Any, *, applied: bool) -> None:
    """Keep a schema; ``applied``: there is nothing to recompute."""
    values = {"experiment_id": experiment_id, "version": version, "schema": schema}
    if applied:
        values["applied_at"] = text("clock_timestamp()")
    connection.execute(insert(_s).values(**values))


def mark_applied(connection: Connection, experiment_id: int, version: int) -> None:
    """From now on outcomes and models follow this schema."""
    where = (_s.c.experiment_id == experiment_id) & (_s.c.version == version)
    values = {"applied_at": text("clock_timestamp()"), "problem": None, "retry_at": None}
    connection.execute(update(_s).where(where).values(**values))


_FAILED = text(
    f"""
    UPDATE feedback_schemas s SET problem = :problem, failures = failures + 1,
        retry_at = clock_timestamp() + {tables.RETRY_PAUSE}
    WHERE experiment_id = :experiment_id AND applied_at IS NULL
        AND version = (SELECT max(version) FROM feedback_schemas WHERE experiment_id = :experiment_id)
    """
)


def note_failure(connection: Connection, experiment_id: int, problem: str) -> None:
    """The newest schema could not be applied: why, and that it is tried again later, each time after a longer pause."""
    connection.execute(_FAILED, {"experiment_id": experiment_id, "problem": problem})


_WAITING = text(
    """
    SELECT experiment_id FROM (
        SELECT DISTINCT ON (experiment_id) experiment_id, applied_at, retry_at FROM feedback_schemas
        ORDER BY experiment_id, version DESC
    ) newest WHERE applied_at IS NULL AND coalesce(retry_at <= clock_timestamp(), true) ORDER BY experiment_id
    """
)


def waiting_experiments(connection: Connection) -> list[int]:
    """Experiments whose newest schema is to be applied now."""
    return list(connection.execute(_WAITING).scalars())
