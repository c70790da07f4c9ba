"""Reads the contexts of newly settled decisions, and how their rewards came."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import decision_of


class Row(NamedTuple):
    """One settled decision."""

    unit_id: str
    decided_at: datetime
    settled_at: datetime
    context: Any
    key_id: str
    events: int  # reward events in time
    left: float | None  # share of the reward window that was left when the first of them came; null: none came


_NEWEST = text(
    f"""
    SELECT o.unit_id, o.decided_at, o.settled_at, d.context, d.key_id, o.events,
        (SELECT extract(epoch FROM d.closes_at - min(r.received_at))
                / nullif(extract(epoch FROM d.closes_at - d.decided_at), 0)
            FROM rewards r WHERE r.decision_id = d.id AND r.experiment_id = d.experiment_id AND NOT r.late)::float8 AS left
    FROM (
        SELECT * FROM analysed WHERE experiment_id = :id AND settled_at > coalesce(CAST(:since AS timestamptz), '-infinity')
        ORDER BY settled_at DESC LIMIT :most
    ) o {decision_of("o", "o.decided_at")}
    WHERE d.state <> 'imported' AND d.erased_at IS NULL AND NOT coalesce('personalise' = ANY(d.withheld), false)
    ORDER BY o.settled_at, o.decided_at, o.decision_id
    """
)


def newest(connection: Connection, experiment_id: int, since: datetime | None, most: int) -> list[Row]:
    """The newest decisions that were settled after a moment, in the order of settling."""
    values = {"id": experiment_id, "since": since, "most": most}
    return [Row._make(row) for row in connection.execute(_NEWEST, values)]
