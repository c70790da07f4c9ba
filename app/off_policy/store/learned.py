"""Reads from the training ledger up to which decision a model version learned."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class Place(NamedTuple):
    """A decision's place in the order of the log."""

    decided_at: datetime
    id: str


# A rebuilt version has the untrained one as its parent, and lists in its own generation everything that it learned.
_LAST = text(
    """
    WITH RECURSIVE up AS (
        SELECT id, parent_id FROM model_versions WHERE id = :id
        UNION ALL
        SELECT m.id, m.parent_id FROM up JOIN model_versions m ON m.id = up.parent_id
    )
    SELECT d.decided_at, d.decision_id AS id
    FROM up JOIN training_ledger l ON l.version_id = up.id
    JOIN decision_ids d ON d.decision_id = l.decision_id AND d.experiment_id = l.experiment_id
    ORDER BY d.decided_at DESC, d.decision_id DESC LIMIT 1
    """
)


def last_learned(connection: Connection, version_id: int) -> Place | None:
    """The latest decision that a version or one of its ancestors learned from; null: it learned from none that is left."""
    row = connection.execute(_LAST, {"id": version_id}).first()
    return None if row is None else Place(row.decided_at, row.id)
