"""Finds, removes and counts everything that is stored about one unit. And the requested erasures."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection, insert, select, text

from app.deciding.store import units
from app.foundation.store import chain, tables
from app.foundation.store.fragments import IN_KEYS, KEYS, RETRY_PAUSE, DecisionKey, decision_of, keys
from app.foundation.store.locks import Kind, hold
from app.learning.store import rewards

FIRING = "fire"  # the name of the lock under which one process at a time decides for firings
_e = tables.erasures


class Erasure(NamedTuple):
    """One erasure."""

    id: str
    unit_hash: str
    unit_id: str | None  # null: it is done
    status: str  # waiting, done
    receipt: dict[str, JsonValue] | None  # null: it is not done
    requested_at: datetime
    done_at: datetime | None
    actor: str  # who asked for it: an API key, or a user
    problem: str | None  # why the last try failed
    retry_at: datetime | None  # the next try; null: at once


class Learned(NamedTuple):
    """A version that learned from one of the unit's decisions."""

    experiment_id: int
    arm: str
    version_id: int


_columns = [_e.c[name] for name in Erasure._fields]


def add(connection: Connection, erasure_id: str, unit_hash: str, unit_id: str, actor: str) -> None:
    """Ask for an erasure."""
    values = {"id": erasure_id, "unit_hash": unit_hash, "unit_id": unit_id, "status": "waiting", "actor": actor}
    connection.execute(insert(_e).values(**values))


def find(connection: Connection, erasure_id: str) -> Erasure | None:
    """One erasure."""
    row = connection.execute(select(*_columns).where(_e.c.id == erasure_id)).first()
    return None if row is None else Erasure(**row._asdict())


def waiting(connection: Connection, unit_hash: str | None = None) -> list[Erasure]:
    """The erasures that wait, in the order of their requests; all, or those of one unit."""
    query = select(*_columns).where(_e.c.status == "waiting").order_by(_e.c.requested_at, _e.c.id)
    if unit_hash is not None:
        query = query.where(_e.c.unit_hash == unit_hash)
    return [Erasure(**row._asdict()) for row in connection.execute(query)]


_FAILED = text(
    f"""
    UPDATE erasures SET problem = :problem, failures = failures + 1, retry_at = clock_timestamp() + {RETRY_PAUSE}
    WHERE id = :id AND status = 'waiting'
    """
)


def note_failure(connection: Connection, erasure_id: str, problem: str) -> None:
    """Record why an erasure failed, and when to try again: each pause is longer than the last."""
    connection.execute(_FAILED, {"id": erasure_id, "problem": problem})


def newest(connection: Connection, most: int) -> list[Erasure]:
    """The newest erasures."""
    query = select(*_columns).order_by(_e.c.requested_at.desc()).limit(most)
    return [Erasure(**row._asdict()) for row in connection.execute(query)]


def receipts(connection: Connection) -> list[dict[str, JsonValue]]:
    """All receipts."""
    return list(connection.execute(select(_e.c.receipt).where(_e.c.status == "done")).scalars())


def finish(connection: Connection, erasure_id: str, receipt: Mapping[str, JsonValue]) -> None:
    """Finish an erasure: store the receipt, and remove the unit's id."""
    query = """
        UPDATE erasures SET status = 'done', unit_id = NULL, receipt = :receipt, done_at = clock_timestamp(),
            problem = NULL, retry_at = NULL WHERE id = :id
    """
    connection.execute(text(query), {"id": erasure_id, "receipt": orjson.dumps(dict(receipt)).decode()})


def experiments_of(connection: Connection, unit_id: str) -> list[int]:
    """Experiments in which the unit has decisions, by id."""
    query = "SELECT DISTINCT experiment_id FROM decisions WHERE unit_id = :unit_id ORDER BY 1"
    return list(connection.execute(text(query), {"unit_id": unit_id}).scalars())


def hold_sums(connection: Connection, experiment_ids: list[int]) -> None:
    """Wait for reports that count units' sums at the moment; reports after them read all outcomes until the transaction ends.

    Otherwise the removal of outcomes would wait for them, while it holds all who store rewards.
    """
    query = "SELECT FROM unit_sum_states WHERE experiment_id = ANY(:ids) ORDER BY experiment_id FOR UPDATE"
    connection.execute(text(query), {"ids": experiment_ids})


def decisions_of(connection: Connection, unit_id: str) -> list[DecisionKey]:
    """The unit's decisions."""
    rows = connection.execute(text("SELECT experiment_id, id FROM decisions WHERE unit_id = :id"), {"id": unit_id})
    return [(row.experiment_id, row.id) for row in rows]


class ArmCount(NamedTuple):
    """How many decisions one arm made."""

    experiment: str  # key
    arm: str
    decisions: int


def decisions_by_arm(connection: Connection, decisions: list[DecisionKey]) -> list[ArmCount]:
    """How many of these decisions each arm made; an audit does not find them any more."""
    query = f"""
        SELECT e.key AS experiment, d.arm, count(*) AS decisions
        FROM {KEYS} {decision_of("k")} JOIN experiments e ON e.id = d.experiment_id GROUP BY e.key, d.arm ORDER BY e.key, d.arm
    """
    return [ArmCount(**row._asdict()) for row in connection.execute(text(query), keys(decisions))]


def learned_from(connection: Connection, decisions: list[DecisionKey]) -> list[Learned]:
    """Every version that learned from one of these decisions, in any generation of the ledger."""
    query = f"""
        SELECT DISTINCT m.experiment_id, m.arm, m.id AS version_id FROM {KEYS}
        JOIN training_ledger l ON l.experiment_id = k.experiment_id AND l.decision_id = k.decision_id
        JOIN model_versions m ON m.id = l.version_id
        UNION
        SELECT m.experiment_id, m.arm, m.id FROM warm_lessons w
        JOIN model_versions m ON m.experiment_id = w.experiment_id AND m.arm = w.arm AND jsonb_exists(m.manifest, 'warm')
        WHERE (w.source_id, w.decision_id) {IN_KEYS} ORDER BY 1, 2, 3
    """
    return [Learned(**row._asdict()) for row in connection.execute(text(query), keys(decisions))]


def descendants(connection: Connection, version_ids: list[int]) -> list[Learned]:
    """These versions and all their descendants, oldest first; an arm that began with another's version has some, too."""
    query = """
        WITH RECURSIVE down AS (
            SELECT id FROM model_versions WHERE id = ANY(:ids)
            UNION
            SELECT m.id FROM down JOIN model_versions m ON m.parent_id = down.id
        )
        SELECT m.experiment_id, m.arm, m.id AS version_id FROM down JOIN model_versions m ON m.id = down.id ORDER BY m.id
    """
    return [Learned(**row._asdict()) for row in connection.execute(text(query), {"ids": version_ids})]


def forget_lessons(connection: Connection, decisions: list[DecisionKey]) -> int:
    """Take these decisions out of the ledger; returns how many rows there were."""
    query = f"DELETE FROM training_ledger WHERE (experiment_id, decision_id) {IN_KEYS}"
    return connection.execute(text(query), keys(decisions)).rowcount


def hold_writers(connection: Connection, unit_id: str) -> None:
    """Wait for all writers of the unit's rows, and let no new one begin until the transaction ends.

    First wait for a pass of firings: it writes on other connections, so PostgreSQL could not detect a deadlock with us.
    """
    hold(connection, Kind.ALONE, FIRING)
    connection.execute(text("LOCK TABLE firings IN SHARE ROW EXCLUSIVE MODE"))
    units.hold(connection, [unit_id])
    rewards.hold_gate(connection)


def sample_again(connection: Connection) -> None:
    """Let PostgreSQL sample the tables again: the samples that it plans with hold units and ids that rows had.

    A table that PostgreSQL is cleaning is left out. It is sampled at the end of that anyway.
    """
    names = (
        "delivery_attempts",
        "awaiting_match",
        "deliveries",
        "events",
        *_BY_DECISION,
        "decision_ids",
        *_BY_UNIT,
        "unit_sums",
        "erasures",
    )
    connection.execute(text(f"ANALYZE (SKIP_LOCKED) {', '.join(names)}"))


# In this order, no statement deletes rows that a later statement needs to find its own.
_BY_DECISION = ("rewards", "outcomes", "awaiting_outcome", "training_ledger", "held_out")
_BY_UNIT = ("feedback", "firings", "consents", "restrictions", "excluded_units", "suspects", "decisions")


def remove(connection: Connection, unit_id: str, decisions: list[DecisionKey]) -> dict[str, int]:
    """Delete all rows of a unit; by table, how many there were."""
    counts: dict[str, int] = {}

    def delete(table: str, query: str, **values: str | list[str] | list[int]) -> None:
        kind = next((kind for kind in chain.KINDS if kind.table == table), None)
        if kind is None:
            counts[table] = connection.execute(text(query), values).rowcount
        else:
            removing = text(chain.removing(kind, query))
            counts[table] = connection.execute(removing, values | chain.key(connection)).scalar_one()

    attempts_lock = (
        "SELECT FROM deliveries WHERE unit_id = :unit_id FOR UPDATE"  # writers of attempts have finished, or wait
    )
    connection.execute(text(attempts_lock), {"unit_id": unit_id})
    delete(
        "delivery_attempts",
        "DELETE FROM delivery_attempts a USING deliveries d WHERE a.delivery_id = d.id AND d.unit_id = :unit_id",
        unit_id=unit_id,
    )
    delete(
        "awaiting_match",
        "DELETE FROM awaiting_match a USING events e WHERE a.event_id = e.event_id AND e.unit_id = :unit_id",
        unit_id=unit_id,
    )
    for table in ("deliveries", "events"):
        delete(table, f"DELETE FROM {table} WHERE unit_id = :unit_id", unit_id=unit_id)
    # Health checks name the heaviest units, and "What works for whom" quotes contexts; the worker computes both again.
    health = """
        DELETE FROM latest WHERE kind IN ('health', 'whom')
          AND experiment_id = ANY(:experiment_ids)
    """
    connection.execute(text(health), {"experiment_ids": sorted({experiment_id for experiment_id, _ in decisions})})
    for table in _BY_DECISION:
        delete(table, f"DELETE FROM {table} WHERE (experiment_id, decision_id) {IN_KEYS}", **keys(decisions))
    for table in _BY_UNIT:
        delete(table, f"DELETE FROM {table} WHERE unit_id = :unit_id", unit_id=unit_id)
    return counts
