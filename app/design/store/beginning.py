"""What is known of an experiment before its first outcome is settled."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import NOT_TRIAL


class Beginning(NamedTuple):
    """An experiment that has no settled decision yet."""

    first_at: datetime | None  # of the first decision; null: none was made
    closes_at: datetime | None  # end of the first reward window; null: none is open, or to be settled
    now: datetime  # by the database's clock


# Each part reads the first row of an index, however long the log is.
_BEGINNING = text(
    f"""
    SELECT (SELECT min(decided_at) FROM decisions WHERE experiment_id = :id AND {NOT_TRIAL}) AS first_at,
        (SELECT min(first.closes_at) FROM unnest(CAST(:arms AS text[])) AS named (arm) CROSS JOIN LATERAL (
            SELECT a.closes_at FROM awaiting_outcome a
            WHERE a.experiment_id = :id AND a.arm = named.arm ORDER BY a.closes_at LIMIT 1) first) AS closes_at,
        clock_timestamp() AS now
    WHERE NOT EXISTS (SELECT FROM outcomes WHERE experiment_id = :id)
    """
)


def beginning(connection: Connection, experiment_id: int, arms: list[str]) -> Beginning | None:
    """What is known so far; null once a decision is settled."""
    row = connection.execute(_BEGINNING, {"id": experiment_id, "arms": arms}).first()
    return None if row is None else Beginning(**row._asdict())
