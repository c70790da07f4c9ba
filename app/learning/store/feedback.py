"""Store explicit answers in the order of arrival, under the same gate as rewards."""

from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, select, text

from app.foundation.store import chain, tables

_f = tables.feedback


FeedbackValue = str | int | float | None  # as given; null: this kind has no value


class NewFeedback(NamedTuple):
    """One answer to store."""

    decision_id: str
    feedback_id: str
    kind: str
    value: FeedbackValue
    comment: str | None
    occurred_at: datetime | None  # null: the time of arrival


class StoredFeedback(NamedTuple):
    """One stored answer."""

    decision_id: str
    feedback_id: str
    kind: str
    value: FeedbackValue
    comment: str | None
    occurred_at: datetime
    received_at: datetime
    late: bool


class Answered(NamedTuple):
    """The fields of a decision that storing an answer needs."""

    id: str
    experiment_id: int
    unit_id: str


class Recent(NamedTuple):
    """The recent answers of a unit in one experiment."""

    answers: int
    frees_s: float  # seconds until the oldest of them leaves the window


_stored_columns = [_f.c[name] for name in StoredFeedback._fields]
_DECISIONS = text("SELECT id, experiment_id, unit_id FROM decisions WHERE id = ANY(:ids) AND erased_at IS NULL")
_INSERT = text(
    f"""
    WITH stored AS (
    INSERT INTO feedback (decision_id, feedback_id, experiment_id, unit_id, action, kind, value, comment,
        occurred_at, received_at, late)
    SELECT i.decision_id, i.feedback_id, d.experiment_id, d.unit_id, d.eligible[d.chosen + 1], i.kind, i.value, i.comment,
        coalesce(i.occurred_at, n.now), n.now, coalesce(n.now > d.closes_at, false)
    FROM json_to_recordset(:rows) AS i (
        decision_id text, feedback_id text, kind text, value json, comment text, occurred_at timestamptz)
    JOIN decisions d ON d.id = i.decision_id
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    ON CONFLICT (decision_id, feedback_id) DO NOTHING
    RETURNING *
    ), links AS ({chain.link(chain.FEEDBACK, "stored")})
    SELECT {", ".join(StoredFeedback._fields)} FROM stored WHERE {chain.ADDED}
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
    """Return the decisions with these ids, without unknown and erased ones."""
    return {row.id: Answered._make(row) for row in connection.execute(_DECISIONS, {"ids": ids})}


def find_many(connection: Connection, decision_ids: list[str]) -> dict[tuple[str, str], StoredFeedback]:
    """Return all stored answers for these decisions, by (decision id, feedback id)."""
    query = select(*_stored_columns).where(_f.c.decision_id.in_(decision_ids))
    return {(row.decision_id, row.feedback_id): StoredFeedback._make(row) for row in connection.execute(query)}


def recent(connection: Connection, windows: dict[tuple[str, int], float]) -> dict[tuple[str, int], Recent]:
    """Count the recent answers of units in experiments. Lock the units first.

    :param windows: the length of the window in seconds, by (unit, experiment id).
    """
    questions = [
        {"place": index, "unit_id": unit, "experiment_id": experiment_id, "window_s": window_s}
        for index, ((unit, experiment_id), window_s) in enumerate(windows.items())
    ]
    rows = connection.execute(_RECENT, {"questions": orjson.dumps(questions).decode()})
    return {unit_and_experiment: Recent._make(row) for unit_and_experiment, row in zip(windows, rows, strict=True)}


def insert_new(connection: Connection, rows: list[NewFeedback]) -> dict[tuple[str, str], StoredFeedback]:
    """Store answers under the gate, and return those that are new."""
    documents = orjson.dumps([row._asdict() for row in rows]).decode()
    stored = connection.execute(_INSERT, {"rows": documents} | chain.key(connection))
    return {(row.decision_id, row.feedback_id): StoredFeedback._make(row) for row in stored}


def of_decision(connection: Connection, decision_id: str, most: int) -> list[StoredFeedback]:
    """Return up to ``most`` answers for a decision, in the order of arrival."""
    query = select(*_stored_columns).where(_f.c.decision_id == decision_id)
    rows = connection.execute(query.order_by(_f.c.received_at, _f.c.feedback_id).limit(most))
    return [StoredFeedback._make(row) for row in rows]
