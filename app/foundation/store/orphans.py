"""Finds rows of the log without their decision, decisions without their id, and rows that claim to be older than the chain."""

from datetime import datetime

from sqlalchemy import Connection, text

from app.foundation.store.chain import FEEDBACK, GRACE, OUTCOMES, REWARDS
from app.foundation.store.fragments import its_decision

_ITS = its_decision("r")
# Rows from before the chain belong to decisions from before it.
_BACKDATED = """
    SELECT '{table}' AS name, r.decision_id AS id FROM {table} r
    JOIN decisions d ON {its_decision}
    WHERE r.experiment_id = :id AND r.{at} >= coalesce(CAST(:since AS timestamptz), '-infinity')
        AND d.decided_at > start.at AND r.{at} <= start.at
"""
_ORPHANED = """
    SELECT '{table}' AS name, r.decision_id AS id FROM {table} r
    WHERE r.experiment_id = :id {since}
        AND NOT EXISTS (SELECT FROM decisions d WHERE {its_decision})
"""
_TIMED = {kind.table: kind.at for kind in (REWARDS, FEEDBACK, OUTCOMES)}
_SINCE = "AND r.{at} >= coalesce(CAST(:since AS timestamptz), '-infinity')"
_ORPHANS = text(
    "SELECT name, id FROM ("
    + " UNION ALL ".join(
        [_ORPHANED.format(table=table, since=_SINCE.format(at=at), its_decision=_ITS) for table, at in _TIMED.items()]
        + [_ORPHANED.format(table="awaiting_outcome", since="", its_decision=_ITS)]
        + [
            _ORPHANED.format(
                table="training_ledger", since="AND CAST(:since AS timestamptz) IS NULL", its_decision=_ITS
            )
        ]
    )
    + ") orphans UNION ALL SELECT name, id FROM ("
    + f"SELECT at + {GRACE} AS at FROM log_anchors WHERE number = 0) start CROSS JOIN LATERAL ("
    + " UNION ALL ".join(_BACKDATED.format(table=table, at=at, its_decision=_ITS) for table, at in _TIMED.items())
    + ") backdated"
)


def orphans(connection: Connection, experiment_id: int, since: datetime | None = None) -> list[tuple[str, str]]:
    """(table, decision id) of rows that no decision has, or that claim to be older than the chain while their decision is not."""
    rows = connection.execute(_ORPHANS, {"id": experiment_id, "since": since})
    return [(row.name, row.id) for row in rows]


_UNNAMED = text(
    """
    SELECT d.id FROM decisions d
    WHERE d.experiment_id = :id AND d.decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
        AND NOT EXISTS (SELECT FROM decision_ids k
            WHERE k.decision_id = d.id AND k.experiment_id = d.experiment_id + 0 AND k.decided_at = d.decided_at)
    """
)
_HAS_ONE = f"EXISTS (SELECT FROM decisions d WHERE {its_decision('r', 'r.decided_at')})"
_FREE_IDS = text(f"SELECT r.decision_id FROM decision_ids r WHERE NOT {_HAS_ONE}")


def unnamed(connection: Connection, experiment_id: int, since: datetime | None = None) -> list[str]:
    """Decisions that the table of ids does not name: nobody finds them by their id, and it could be given away again."""
    return list(connection.execute(_UNNAMED, {"id": experiment_id, "since": since}).scalars())


def free_ids(connection: Connection) -> list[str]:
    """Ids of the table of ids, of all experiments, that no decision has."""
    return list(connection.execute(_FREE_IDS).scalars())
