"""Reads the log the way an auditor does: everything, in order, a slice at a time."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select, text, tuple_

from app.store import tables
from app.store.engine import AnyRow

_d = tables.decisions


def hold_still(connection: Connection) -> None:
    """See one moment of the database until the transaction ends: the log grows while it is audited. Call it first."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def count_decisions(connection: Connection, experiment_id: int) -> int:
    """Decisions of one experiment that were made here; imported ones cannot be made again."""
    query = text("SELECT count(*) FROM decisions WHERE experiment_id = :id AND state <> 'imported'")
    return int(connection.execute(query, {"id": experiment_id}).scalar_one())


def each_decision(connection: Connection, experiment_id: int, slice_rows: int = 5000) -> Iterator[AnyRow]:
    """Every decision of an experiment, grouped by the model that made it."""
    order = [_d.c.arm, _d.c.policy_version, _d.c.id]
    last: tuple[Any, ...] | None = None
    while True:
        query = (
            select(_d)
            .where(_d.c.experiment_id == experiment_id, _d.c.state != "imported")
            .order_by(*order)
            .limit(slice_rows)
        )
        if last is not None:
            query = query.where(tuple_(*order) > tuple_(*last))
        rows = connection.execute(query).all()
        yield from rows
        if len(rows) < slice_rows:
            return
        last = (rows[-1].arm, rows[-1].policy_version, rows[-1].id)


_UNACCOUNTED = text(
    """
    SELECT d.id FROM decisions d
    LEFT JOIN training_ledger l ON l.experiment_id = d.experiment_id AND l.arm = d.arm AND l.decision_id = d.id
    LEFT JOIN awaiting_outcome a ON a.decision_id = d.id
    LEFT JOIN outcomes o ON o.experiment_id = d.experiment_id AND o.decision_id = d.id
    WHERE d.experiment_id = :id AND d.closes_at IS NOT NULL AND (
        (o.decision_id IS NULL) = (a.decision_id IS NULL)
        OR (d.arm = ANY(:arms) AND (o.decision_id IS NULL) <> (l.decision_id IS NULL)))
    """
)


def unaccounted(connection: Connection, experiment_id: int, arms: list[str]) -> list[str]:
    """Decisions that are neither settled nor waiting, or both; in learning arms, settled and not learned from."""
    return list(connection.execute(_UNACCOUNTED, {"id": experiment_id, "arms": arms}).scalars())
