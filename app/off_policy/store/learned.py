"""Reads from the training ledger up to which decision a model version learned."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import its_decision


class Place(NamedTuple):
    """A decision's place in the order of the log."""

    decided_at: datetime
    id: str


# A rebuilt version has the untrained one as its parent, and lists in its own generation everything that it learned.
_LAST = text(
    f"""
    WITH RECURSIVE up AS (
        SELECT id, parent_id FROM model_versions WHERE id = :id
        UNION ALL
        SELECT m.id, m.parent_id FROM up JOIN model_versions m ON m.id = up.parent_id
    )
    SELECT d.decided_at, d.id
    FROM up JOIN training_ledger l ON l.version_id = up.id JOIN decisions d ON {its_decision("l")}
    ORDER BY d.decided_at DESC, d.id DESC LIMIT 1
    """
)


def last_learned(connection: Connection, version_id: int) -> Place | None:
    """The latest decision that a version or one of its ancestors learned from; null: it learned from none that is left."""
    row = connection.execute(_LAST, {"id": version_id}).first()
    return None if row is None else Place(row.decided_at, row.id)
