"""Store rewards, under a gate that makes "in time" mean the same to writers and to training.

A reward is stored under a shared lock and gets its time after the lock is taken. A training round takes the exclusive lock
for a moment. After that, every reward with a time before the end of a window is visible, and later rewards get later times.
"""

from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, select, text

from app.foundation.fields import JsonObject
from app.foundation.store import chain, tables
from app.foundation.store.locks import Single, hold_single, share_single

_r = tables.rewards
_d = tables.decisions


class NewReward(NamedTuple):
    """One reward to store."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: datetime | None  # null: the time of arrival


class StoredReward(NamedTuple):
    """One stored reward."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: datetime
    received_at: datetime
    late: bool


class Rewarded(NamedTuple):
    """The fields of a decision that storing a reward needs."""

    id: str
    experiment_id: int


_stored_columns = [_r.c[name] for name in StoredReward._fields]

_INSERT = text(
    f"""
    WITH stored AS (
    INSERT INTO rewards (decision_id, reward_id, experiment_id, metric, value, occurred_at, received_at, late)
    SELECT i.decision_id, i.reward_id, d.experiment_id, i.metric, i.value, coalesce(i.occurred_at, n.now), n.now,
        coalesce(n.now > d.closes_at, false)
    FROM json_to_recordset(:rows) AS i (
        decision_id text, reward_id text, metric text, value float8, occurred_at timestamptz)
    JOIN decisions d ON d.id = i.decision_id
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    ON CONFLICT (decision_id, reward_id) DO NOTHING
    RETURNING *
    ), links AS ({chain.link(chain.REWARDS, "stored")})
    SELECT {", ".join(StoredReward._fields)} FROM stored WHERE {chain.ADDED}
    """
)


def hold_gate_shared(connection: Connection) -> None:
    """Take the gate's shared lock until the transaction ends."""
    share_single(connection, Single.REWARD_GATE)


def hold_gate(connection: Connection) -> None:
    """Wait until all pending rewards and answers are stored, and block new ones until the transaction ends."""
    hold_single(connection, Single.REWARD_GATE)


def pass_gate(connection: Connection) -> datetime:
    """Wait until every reward with a time before now is visible, and return that time.

    Call this in a transaction of its own, because the lock must be free again before the reading starts.
    """
    hold_gate(connection)
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def decisions_of(connection: Connection, ids: list[str]) -> dict[str, Rewarded]:
    """Return the decisions with these ids, without unknown ones."""
    query = select(_d.c.id, _d.c.experiment_id).where(_d.c.id.in_(ids))
    return {row.id: Rewarded._make(row) for row in connection.execute(query)}


def find_many(connection: Connection, decision_ids: list[str]) -> dict[tuple[str, str], StoredReward]:
    """Return all stored rewards for these decisions, by (decision id, reward id)."""
    query = select(*_stored_columns).where(_r.c.decision_id.in_(decision_ids))
    return {(row.decision_id, row.reward_id): StoredReward._make(row) for row in connection.execute(query)}


def insert_new(connection: Connection, rows: list[NewReward]) -> dict[tuple[str, str], StoredReward]:
    """Store rewards under the gate, and return those that are new."""
    documents: list[JsonObject] = [row._asdict() for row in rows]
    values = {"rows": orjson.dumps(documents).decode()} | chain.key(connection)
    stored = connection.execute(_INSERT, values)
    return {(row.decision_id, row.reward_id): StoredReward._make(row) for row in stored}
