"""What waits for a second person."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from app.foundation.fields import JsonObject
from app.foundation.store import tables

_a = tables.approvals
_e = tables.experiments


class StoredApproval(NamedTuple):
    """One thing that somebody asked for."""

    id: int
    experiment: str
    action: str  # start, change, ship, ramp, schedule
    document: JsonObject
    config_version: int
    asked_by: str
    asked_at: datetime


_columns = [
    _a.c.id,
    _e.c.key.label("experiment"),
    *(_a.c[name] for name in ("action", "document", "config_version", "asked_by", "asked_at")),
]
_open = select(*_columns).join(_e, _e.c.id == _a.c.experiment_id).where(_a.c.decided_at.is_(None))


def add(connection: Connection, experiment_id: int, given: StoredApproval) -> int:
    """Store a request; return its id."""
    values = given._asdict()
    for name in ("id", "experiment", "asked_at"):
        values.pop(name)
    query = insert(_a).values(experiment_id=experiment_id, **values).returning(_a.c.id)
    return int(connection.execute(query).scalar_one())


def waiting(connection: Connection, key: str | None = None) -> list[StoredApproval]:
    """The open requests, the oldest first: of one experiment, or all."""
    query = _open.order_by(_a.c.id) if key is None else _open.where(_e.c.key == key).order_by(_a.c.id)
    return [StoredApproval._make(row) for row in connection.execute(query)]


def find(connection: Connection, approval_id: int) -> StoredApproval | None:
    """An open request, locked until the transaction ends."""
    row = connection.execute(_open.where(_a.c.id == approval_id).with_for_update(of=_a)).first()
    return None if row is None else StoredApproval._make(row)


def decide(connection: Connection, approval_id: int, by: str, approved: bool) -> None:
    """Close a request."""
    values = {"decided_by": by, "decided_at": func.clock_timestamp(), "approved": approved}
    connection.execute(update(_a).where(_a.c.id == approval_id).values(**values))
