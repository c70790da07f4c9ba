"""Reads the log the way an auditor does: everything, in order, a slice at a time."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, text, tuple_

from app.deciding.store.decisions import LOGGED, STORED, StoredDecision
from app.foundation.store.fragments import ITS_OUTCOME, its_decision


def hold_still(connection: Connection) -> None:
    """Read one snapshot of the database until the transaction ends, because the log grows during the audit. Call it first."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def count_decisions(connection: Connection, experiment_id: int, since: datetime | None = None) -> int:
    """Decisions of one experiment that were made here (since a time); imported ones cannot be recomputed."""
    query = """
        SELECT count(*) FROM decisions WHERE experiment_id = :id AND state <> 'imported'
          AND decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
    """
    return int(connection.execute(text(query), {"id": experiment_id, "since": since}).scalar_one())


def time_of_newest(connection: Connection, experiment_id: int, count: int) -> datetime | None:
    """When the oldest of the newest ``count`` decisions was made; null when there are fewer."""
    query = """
        SELECT decided_at FROM decisions WHERE experiment_id = :id ORDER BY decided_at DESC OFFSET :before LIMIT 1
    """
    decided_at: datetime | None = connection.execute(
        text(query), {"id": experiment_id, "before": count - 1}
    ).scalar_one_or_none()
    return decided_at


def each_decision(
    connection: Connection, experiment_id: int, since: datetime | None = None, slice_rows: int = 5000
) -> Iterator[StoredDecision]:
    """Every decision of an experiment (since a time), grouped by the model that made it."""
    order = [LOGGED.c.arm, LOGGED.c.policy_version, LOGGED.c.id]
    last: tuple[str, int, str] | None = None
    while True:
        query = (
            STORED.where(LOGGED.c.experiment_id == experiment_id, LOGGED.c.state != "imported")
            .order_by(*order)
            .limit(slice_rows)
        )
        if since is not None:
            query = query.where(LOGGED.c.decided_at >= since)
        if last is not None:
            query = query.where(tuple_(*order) > tuple_(*last))
        rows = connection.execute(query).all()
        yield from map(StoredDecision._make, rows)
        if len(rows) < slice_rows:
            return
        last = (rows[-1].arm, rows[-1].policy_version, rows[-1].id)


_FLAGS = text(
    f"""
    SELECT d.id FROM outcomes o JOIN decisions d ON {its_decision("o", "o.decided_at")}
    WHERE o.experiment_id = :id AND o.holdout <> coalesce(d.holdout, false) AND d.erased_at IS NULL
      AND o.settled_at >= coalesce(CAST(:since AS timestamptz), '-infinity') ORDER BY d.id
    """
)


def misplaced(connection: Connection, experiment_id: int, since: datetime | None = None) -> list[str]:
    """Decisions that are in results although the global holdout held their unit back, or the reverse."""
    return list(connection.execute(_FLAGS, {"id": experiment_id, "since": since}).scalars())


_UNACCOUNTED = text(
    f"""
    SELECT d.id FROM decisions d
    LEFT JOIN lineages g ON g.experiment_id = d.experiment_id AND g.arm = d.arm
    LEFT JOIN training_ledger l ON l.experiment_id = d.experiment_id + 0 AND l.arm = d.arm
        AND l.generation = g.generation AND l.decision_id = d.id
    LEFT JOIN outcomes o ON {ITS_OUTCOME}
    WHERE d.experiment_id = :id AND d.closes_at IS NOT NULL AND d.erased_at IS NULL
      AND d.decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
      AND CASE WHEN EXISTS (SELECT FROM awaiting_outcome a WHERE a.decision_id = d.id AND a.experiment_id = d.experiment_id + 0)
        THEN o.decision_id IS NOT NULL OR l.decision_id IS NOT NULL
        ELSE (d.arm = ANY(:arms) AND l.decision_id IS NULL)
          OR (o.decision_id IS NULL AND NOT coalesce('analyse' = ANY(d.withheld), false) AND NOT EXISTS (
            SELECT FROM restrictions r WHERE r.unit_id = d.unit_id AND 'analyse' = ANY(r.denied)
          ) AND NOT EXISTS (
            SELECT FROM consents c
            WHERE c.unit_id = d.unit_id AND c.purpose = 'analyse' AND c.status IN ('denied', 'revoked')
          ))
        END
    """
)


def unaccounted(
    connection: Connection, experiment_id: int, arms: list[str], since: datetime | None = None
) -> list[str]:
    """Decisions that are neither settled nor waiting, or both; in learning arms, settled and not in the ledger.

    A decision whose unit refused to be analysed, then or later, may be settled without an outcome.
    """
    return list(connection.execute(_UNACCOUNTED, {"id": experiment_id, "arms": arms, "since": since}).scalars())
