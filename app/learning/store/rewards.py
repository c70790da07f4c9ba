"""Rewards as they arrived, and the gate that makes "in time" mean the same to writers and learners.

A reward is stored under a shared lock, and stamped after it is held. A training round takes the lock alone for a moment:
from app.foundation.fields import JsonObject
from then on, whatever was stamped before the closing of a window is visible, and whatever comes is stamped later.
"""

from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, select, text

from app.foundation.store import tables
from app.foundation.store.locks import Single, hold_single, share_single

_r = tables.rewards
_d = tables.decisions


class NewReward(NamedTuple):
    """One reward to be stored."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: datetime | None  # null: when it arrives


class StoredReward(NamedTuple):
    """One reward as stored."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: datetime
    received_at: datetime
    late: bool


class Rewarded(NamedTuple):
    """What must be known of a decision to take a reward for it."""

    id: str
    experiment_id: int


_stored_columns = [_r.c[name] for name in StoredReward._fields]

_INSERT = text(
    """
    INSERT INTO rewards (decision_id, reward_id, experiment_id, metric, value, occurred_at, received_at, late)
    SELECT i.decision_id, i.reward_id, d.experiment_id, i.metric, i.value, coalesce(i.occurred_at, n.now), n.now,
        coalesce(n.now > d.closes_at, false)
    FROM json_to_recordset(:rows) AS i (
        decision_id text, reward_id text, metric text, value float8, occurred_at timestamptz)
    JOIN decisions d ON d.id = i.decision_id
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    ON CONFLICT (decision_id, reward_id) DO NOTHING
    RETURNING decision_id, reward_id, metric, value, occurred_at, received_at, late
    """
)


def hold_gate_shared(connection: Connection) -> None:
    """Take part in the gate until the transaction ends."""
    share_single(connection, Single.REWARD_GATE)


def hold_gate(connection: Connection) -> None:
    """Wait until every reward and answer that is being stored is, and let none be stored until the transaction ends."""
    hold_single(connection, Single.REWARD_GATE)


def pass_gate(connection: Connection) -> datetime:
    """Wait until every reward stamped so far is visible; returns the time up to which that holds.

    Call it in a transaction of its own: the lock must be free again before the reading starts.
    """
    hold_gate(connection)
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def decisions_of(connection: Connection, ids: list[str]) -> dict[str, Rewarded]:
    """The decisions of these ids that exist."""
    query = select(_d.c.id, _d.c.experiment_id).where(_d.c.id.in_(ids))
    return {row.id: Rewarded._make(row) for row in connection.execute(query)}


def find_many(connection: Connection, decision_ids: list[str]) -> dict[tuple[str, str], StoredReward]:
    """Every stored reward of these decisions, by (decision id, reward id)."""
    query = select(*_stored_columns).where(_r.c.decision_id.in_(decision_ids))
    return {(row.decision_id, row.reward_id): StoredReward._make(row) for row in connection.execute(query)}


def insert_new(connection: Connection, rows: list[NewReward]) -> dict[tuple[str, str], StoredReward]:
    """Store rewards, under the gate; returns those that are new."""
    documents = [row._asdict() for row in rows]
    stored = connection.execute(_INSERT, {"rows": orjson.dumps(documents).decode()})
    return {(row.decision_id, row.reward_id): StoredReward._make(row) for row in stored}
