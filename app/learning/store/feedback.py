"""Store explicit answers in the order of arrival, under the same gate as rewards."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, select, text

from app.foundation.store import chain, tables
from app.foundation.store.fragments import IN_KEYS, NOT_A_TRIAL, DecisionKey, decision_of, its_decision, keys

_f = tables.feedback


FeedbackValue = str | int | float | None  # as given; null: this kind has no value


FeedbackKey = tuple[int, str, str]  # (experiment id, decision id, feedback id)


class NewFeedback(NamedTuple):
    """One answer to store."""

    experiment_id: int
    decision_id: str
    feedback_id: str
    kind: str
    value: FeedbackValue
    comment: str | None
    occurred_at: datetime | None  # null: the time of arrival

    @property
    def decision(self) -> DecisionKey:
        """The decision that it belongs to."""
        return self.experiment_id, self.decision_id

    @property
    def key(self) -> FeedbackKey:
        """What names the answer."""
        return self.experiment_id, self.decision_id, self.feedback_id


class StoredFeedback(NamedTuple):
    """One stored answer."""

    experiment_id: int
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
    trial: bool


class Recent(NamedTuple):
    """The recent answers of a unit in one experiment."""

    answers: int
    frees_s: float  # seconds until the oldest of them leaves the window


_stored_columns = [_f.c[name] for name in StoredFeedback._fields]
_FIND = select(*_stored_columns).where(text(f"(experiment_id, decision_id) {IN_KEYS}"))
_DECISIONS = text(
    f"""
    SELECT d.id, d.experiment_id, d.unit_id, NOT ({NOT_A_TRIAL}) AS trial
    FROM decision_ids i JOIN decisions d ON {its_decision("i", "i.decided_at")}
    WHERE i.decision_id = ANY(:ids) AND d.erased_at IS NULL
    """
)
# All rows of a batch have one time, which their link names: so the clock is read once, whatever the plan.
_INSERT = text(
    f"""
    WITH n AS MATERIALIZED (SELECT clock_timestamp() AS now), stored AS (
    INSERT INTO feedback (decision_id, feedback_id, experiment_id, unit_id, action, kind, value, comment,
        occurred_at, received_at, late)
    SELECT i.decision_id, i.feedback_id, d.experiment_id, d.unit_id, d.eligible[d.chosen + 1], i.kind, i.value, i.comment,
        coalesce(i.occurred_at, n.now), n.now, coalesce(n.now > d.closes_at, false)
    FROM json_to_recordset(:rows) AS i (
        experiment_id bigint, decision_id text, feedback_id text, kind text, value json, comment text,
        occurred_at timestamptz)
    {decision_of("i")}
    CROSS JOIN n
    ON CONFLICT DO NOTHING
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


def decisions_of(connection: Connection, ids: Iterable[str]) -> dict[DecisionKey, Answered]:
    """Return the decisions with these ids, of any experiment, without unknown and erased ones."""
    rows = connection.execute(_DECISIONS, {"ids": list(ids)})
    return {(row.experiment_id, row.id): Answered._make(row) for row in rows}


def find_many(connection: Connection, of: Iterable[DecisionKey]) -> dict[FeedbackKey, StoredFeedback]:
    """Return all stored answers for these decisions."""
    return {row[:3]: StoredFeedback._make(row) for row in connection.execute(_FIND, keys(of))}


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


def insert_new(connection: Connection, rows: list[NewFeedback]) -> dict[FeedbackKey, StoredFeedback]:
    """Store answers under the gate, and return those that are new."""
    documents = orjson.dumps([row._asdict() for row in rows]).decode()
    stored = connection.execute(_INSERT, {"rows": documents} | chain.key(connection))
    return {row[:3]: StoredFeedback._make(row) for row in stored}


def of_decision(connection: Connection, key: DecisionKey, most: int) -> list[StoredFeedback]:
    """Return up to ``most`` answers for a decision, in the order of arrival."""
    experiment_id, decision_id = key
    query = select(*_stored_columns).where(_f.c.decision_id == decision_id, _f.c.experiment_id + 0 == experiment_id)
    rows = connection.execute(query.order_by(_f.c.received_at, _f.c.feedback_id).limit(most))
    return [StoredFeedback._make(row) for row in rows]
