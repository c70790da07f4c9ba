"""Store rewards, under a gate that makes "in time" mean the same to writers and to training.

A reward is stored under a shared lock and gets its time after the lock is taken. A training round takes the exclusive lock
for a moment. After that, every reward with a time before the end of a window is visible, and later rewards get later times.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, select, text

from app.foundation.fields import JsonObject
from app.foundation.store import chain, tables
from app.foundation.store.fragments import IN_KEYS, KEYS, DecisionKey, Span, decision_of, keys
from app.foundation.store.locks import Single, hold_single, share_single

_r = tables.rewards


RewardKey = tuple[int, str, str]  # (experiment id, decision id, reward id)


class NewReward(NamedTuple):
    """One reward to store."""

    experiment_id: int
    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: datetime | None  # null: the time of arrival

    @property
    def decision(self) -> DecisionKey:
        """The decision that it belongs to."""
        return self.experiment_id, self.decision_id

    @property
    def key(self) -> RewardKey:
        """What names the reward."""
        return self.experiment_id, self.decision_id, self.reward_id


class StoredReward(NamedTuple):
    """One stored reward."""

    experiment_id: int
    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: datetime
    received_at: datetime
    late: bool


class Recent(NamedTuple):
    """The recent rewards of a unit in one experiment."""

    rewards: int
    frees_s: float  # seconds until the oldest of them leaves the window


_FIND = select(*[_r.c[name] for name in StoredReward._fields]).where(text(f"(experiment_id, decision_id) {IN_KEYS}"))

# All rows of a batch have one time, which their link names: so the clock is read once, whatever the plan.
_INSERT = text(
    f"""
    WITH n AS MATERIALIZED (SELECT clock_timestamp() AS now), stored AS (
    INSERT INTO rewards (decision_id, reward_id, experiment_id, metric, value, occurred_at, received_at, late)
    SELECT i.decision_id, i.reward_id, i.experiment_id, i.metric, i.value, coalesce(i.occurred_at, n.now), n.now,
        coalesce(n.now > d.closes_at, false)
    FROM json_to_recordset(:rows) AS i (
        experiment_id bigint, decision_id text, reward_id text, metric text, value float8, occurred_at timestamptz)
    {decision_of("i", spanned=True)}
    CROSS JOIN n
    ON CONFLICT DO NOTHING
    RETURNING *
    ), links AS ({chain.link(chain.REWARDS, "stored")})
    SELECT {", ".join(StoredReward._fields)} FROM stored WHERE {chain.ADDED}
    """
)


_RECENT = text(
    """
    SELECT count(r.received_at) AS rewards,
        coalesce(extract(epoch FROM min(r.received_at) - n.now)::float8 + q.window_s, 0) AS frees_s
    FROM json_to_recordset(:questions) AS q (place int, unit_id text, experiment_id bigint, window_s float8)
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    LEFT JOIN (decisions d JOIN rewards r ON r.decision_id = d.id AND r.experiment_id = d.experiment_id) ON d.unit_id = q.unit_id
      AND d.experiment_id = q.experiment_id AND r.received_at > n.now - make_interval(secs => q.window_s)
    GROUP BY q.place, q.window_s, n.now ORDER BY q.place
    """
)


def units_of(connection: Connection, of: Iterable[DecisionKey]) -> dict[DecisionKey, str]:
    """Return whose these decisions are."""
    query = f"SELECT d.experiment_id, d.id, d.unit_id FROM {KEYS} {decision_of('k')}"
    return {(row.experiment_id, row.id): row.unit_id for row in connection.execute(text(query), keys(of))}


def recent(connection: Connection, windows: dict[tuple[str, int], float]) -> dict[tuple[str, int], Recent]:
    """Count the recent rewards of units in experiments. Lock the units first.

    :param windows: the length of the window in seconds, by (unit, experiment id).
    """
    questions = [
        {"place": index, "unit_id": unit, "experiment_id": experiment_id, "window_s": window_s}
        for index, ((unit, experiment_id), window_s) in enumerate(windows.items())
    ]
    rows = connection.execute(_RECENT, {"questions": orjson.dumps(questions).decode()})
    return {asked: Recent._make(row) for asked, row in zip(windows, rows, strict=True)}


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


def find_many(connection: Connection, of: Iterable[DecisionKey]) -> dict[RewardKey, StoredReward]:
    """Return all stored rewards of these decisions."""
    return {row[:3]: StoredReward._make(row) for row in connection.execute(_FIND, keys(of))}


def insert_new(connection: Connection, rows: list[NewReward], span: Span) -> dict[RewardKey, StoredReward]:
    """Store rewards under the gate, and return those that are new.

    :param span: of their decisions.
    """
    documents: list[JsonObject] = [row._asdict() for row in rows]
    values = {"rows": orjson.dumps(documents).decode()} | span._asdict() | chain.key(connection)
    stored = connection.execute(_INSERT, values)
    return {row[:3]: StoredReward._make(row) for row in stored}
