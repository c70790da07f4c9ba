"""The revision that every change of configuration takes, and the trail of changes."""

from typing import Any

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from app.foundation.store import chain, tables


def next_revision(connection: Connection) -> int:
    """Take the next revision. Its row stays locked until the transaction ends, so revisions commit in order."""
    row = connection.execute(text("UPDATE platform SET revision = revision + 1 WHERE id = 1 RETURNING revision"))
    return int(row.scalar_one())


def revision(connection: Connection) -> int:
    """The newest committed revision."""
    return int(connection.execute(select(tables.platform.c.revision)).scalar_one())


_RECORD = text(
    f"""
    WITH recorded AS (
        INSERT INTO changes (at, actor, kind, experiment_id, before, after, reason)
        VALUES (statement_timestamp(), :actor, :kind, :experiment_id, :before, :after, :reason) RETURNING *
    )
    {chain.link(chain.CHANGES, "recorded")}
    """
).bindparams(bindparam("before", type_=JSONB), bindparam("after", type_=JSONB))


def record_change(
    connection: Connection,
    *,
    actor: str,
    kind: str,
    experiment_id: int | None = None,
    before: Any = None,
    after: Any = None,
    reason: str | None = None,
) -> None:
    """Append one line to the trail: who changed what, from what, to what, and why."""
    values = {"actor": actor, "kind": kind, "experiment_id": experiment_id, "reason": reason}
    connection.execute(_RECORD, values | {"before": before, "after": after} | chain.key(connection))


def now(connection: Connection) -> Any:
    """The database's clock, an aware datetime in UTC."""
    return connection.execute(text("SELECT clock_timestamp()")).scalar_one()
