"""Drops whole months of the log whose decisions retention has stripped, with the rows that belong to them."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store import chain
from app.foundation.store.partitions import BOUNDS, DEFAULT, EARLY, briefly


class Old(NamedTuple):
    """A partition of the log whose time is over."""

    name: str
    end: datetime


_OLD = text(
    f"""
    SELECT name, ends AS "end" FROM ({BOUNDS}) partitions
    WHERE ends <= clock_timestamp() - make_interval(secs => :age) ORDER BY ends
    """
)


def old(connection: Connection, older_than_s: float) -> list[Old]:
    """The partitions of the log that ended before, oldest first."""
    return [Old._make(row) for row in connection.execute(_OLD, {"age": older_than_s})]


_KEEPING = text(
    """
    SELECT e.key FROM experiments e
    WHERE EXISTS (SELECT FROM decisions d WHERE d.experiment_id = e.id AND d.decided_at < :end AND d.erased_at IS NULL)
        OR EXISTS (SELECT FROM awaiting_outcome a JOIN decision_ids k ON k.decision_id = a.decision_id
            AND k.experiment_id = a.experiment_id WHERE a.experiment_id = e.id AND k.decided_at < :end)
    ORDER BY 1
    """
)


def keeping(connection: Connection, end: datetime) -> list[str]:
    """Keys of the experiments with a decision before a time that retention has not stripped, or that waits for its outcome."""
    return list(connection.execute(_KEEPING, {"end": end}).scalars())


def is_empty(connection: Connection, end: datetime) -> bool:
    """Whether nothing was decided before a time."""
    query = text("SELECT NOT EXISTS (SELECT FROM decisions WHERE decided_at < :end)")
    return bool(connection.execute(query, {"end": end}).scalar_one())


def experiments(connection: Connection, end: datetime) -> list[int]:
    """Experiments with a decision before a time, by id."""
    query = text("SELECT DISTINCT experiment_id FROM decisions WHERE decided_at < :end ORDER BY 1")
    return list(connection.execute(query, {"end": end}).scalars())


_ITS = "USING decisions d WHERE d.decided_at < :end AND t.{experiment} = d.experiment_id AND t.decision_id = d.id"
# Ids last: what else belongs to a decision is found through it, and from then on nobody names it.
_PLAIN: Final = {
    "held_out": "experiment_id",
    "warm_lessons": "source_id",
    "decision_ids": "experiment_id",
}
_LESSONS = text(
    """
    WITH gone AS (
        DELETE FROM training_ledger t USING decisions d
        WHERE d.decided_at < :end AND t.experiment_id = d.experiment_id AND t.decision_id = d.id
        RETURNING t.experiment_id, t.version_id
    )
    SELECT experiment_id, count(*) AS rows FROM gone WHERE version_id <> 0 GROUP BY experiment_id
    """
)


def remove_rows(connection: Connection, end: datetime) -> dict[int, int]:
    """Delete what belongs to decisions before a time, and note that in the chain; returns how many were learned, by experiment.

    The decisions themselves go with their partitions.
    """
    values = {"end": end} | chain.key(connection)
    for kind in (chain.REWARDS, chain.FEEDBACK, chain.OUTCOMES):
        delete = f"DELETE FROM {kind.table} t {_ITS.format(experiment='experiment_id')}"
        connection.execute(text(_removing(kind, delete)), values)
    lessons = {row.experiment_id: row.rows for row in connection.execute(_LESSONS, {"end": end})}
    for table, experiment in _PLAIN.items():
        connection.execute(text(f"DELETE FROM {table} t {_ITS.format(experiment=experiment)}"), {"end": end})
    return lessons


def _removing(kind: chain.Kind, delete: str) -> str:
    return f"""
        WITH gone AS ({delete} RETURNING t.*), links AS ({chain.link(kind, "gone", -1)})
        SELECT count(*) FROM gone WHERE {chain.ADDED}
    """


def remove_late(connection: Connection, experiment_ids: list[int], since: datetime) -> None:
    """Delete rewards and answers without a decision that came while the others were deleted. Pass their gate before."""
    values = {"ids": experiment_ids, "since": since} | chain.key(connection)
    for kind in (chain.REWARDS, chain.FEEDBACK):
        late = f"""
            DELETE FROM {kind.table} t WHERE t.experiment_id = ANY(:ids) AND t.received_at >= :since AND NOT EXISTS (
                SELECT FROM decision_ids k WHERE k.decision_id = t.decision_id AND k.experiment_id = t.experiment_id)
        """
        connection.execute(text(_removing(kind, late)), values)


def drop(connection: Connection, partitions: list[Old]) -> bool:
    """Drop partitions, oldest first; the early partition begins where they end. False: somebody else has the log now."""
    names, end = [partition.name for partition in partitions if partition.name != EARLY], partitions[-1].end.isoformat()
    return briefly(
        connection,
        "LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE",
        *(f"DROP TABLE {name}" for name in names),
        f"ALTER TABLE decisions DETACH PARTITION {EARLY}",
        f"TRUNCATE {EARLY}",
        f"DELETE FROM {DEFAULT} WHERE decided_at < '{end}'",
        f"ALTER TABLE decisions ATTACH PARTITION {EARLY} FOR VALUES FROM (MINVALUE) TO ('{end}')",
    )
