"""Reads what the newest settled decisions say about how units and API keys behave."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import decision_of


class Row(NamedTuple):
    """One settled decision."""

    arm: str
    unit_id: str
    key_id: str
    decided_at: datetime
    action: str
    reward: float
    delay_s: float | None  # from the decision to its first reward; null: none came


_NEWEST = text(
    f"""
    SELECT o.arm, o.unit_id, d.key_id, d.decided_at, d.eligible[d.chosen + 1] AS action, o.reward,
        (SELECT extract(epoch FROM min(r.received_at) - d.decided_at)::float8 FROM rewards r
            WHERE r.decision_id = d.id AND r.experiment_id = d.experiment_id AND r.metric = 'reward') AS delay_s
    FROM (SELECT * FROM analysed WHERE experiment_id = :id ORDER BY settled_at DESC LIMIT :most) o
    {decision_of("o", "o.decided_at")}
    WHERE d.state <> 'imported' AND d.unit_id <> '' ORDER BY d.decided_at, d.id
    """
)


def newest(connection: Connection, experiment_id: int, most: int) -> list[Row]:
    """The newest settled decisions of an experiment, oldest first."""
    return [Row._make(row) for row in connection.execute(_NEWEST, {"id": experiment_id, "most": most})]
