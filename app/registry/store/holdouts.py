"""Versions of the global holdout: the share of units that no experiment touches."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from app.foundation.store import tables

_h = tables.holdouts


class Holdout(NamedTuple):
    """One version. The newest is in force."""

    version: int
    share: float  # of all units; 0: none
    salt: bytes
    seal: str
    actor: str
    reason: str
    created_at: datetime


def versions(connection: Connection) -> list[Holdout]:
    """Every version, oldest first."""
    rows = connection.execute(select(*[_h.c[name] for name in Holdout._fields]).order_by(_h.c.version))
    return [Holdout._make(row)._replace(salt=bytes(row.salt)) for row in rows]


def newest(connection: Connection) -> Holdout | None:
    """The version in force; null: there was never a holdout."""
    row = connection.execute(
        select(*[_h.c[name] for name in Holdout._fields]).order_by(_h.c.version.desc()).limit(1)
    ).first()
    return None if row is None else Holdout._make(row)._replace(salt=bytes(row.salt))


def add(connection: Connection, values: dict[str, object]) -> None:
    """Store the next version."""
    connection.execute(insert(_h).values(**values))
