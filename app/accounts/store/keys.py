"""API keys: only their hashes are stored."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from app.foundation.store import tables

_k = tables.api_keys


class StoredKey(NamedTuple):
    """One API key."""

    id: str
    secret_hash: bytes
    name: str
    scopes: list[str]
    experiment_id: int | None  # null: any experiment
    created_at: datetime | None  # null: not stored yet
    revoked_at: datetime | None  # null: valid
    origins: list[str] | None  # web pages that may use it, which makes it publishable; null: a server's secret
    test: bool = False  # its decisions are trials


_GIVEN = ("id", "secret_hash", "name", "scopes", "experiment_id", "origins", "test")
_columns = [_k.c[name] for name in StoredKey._fields]


def add(connection: Connection, *, key: StoredKey, revision: int) -> None:
    """Store a key."""
    values = {name: getattr(key, name) for name in _GIVEN}
    connection.execute(insert(_k).values(**values, revision=revision))


def every(connection: Connection) -> list[StoredKey]:
    """All keys, oldest first, revoked ones too."""
    return [StoredKey._make(row) for row in connection.execute(select(*_columns).order_by(_k.c.created_at))]


def find(connection: Connection, key_id: str) -> StoredKey | None:
    """One key by its public id, a revoked one too."""
    row = connection.execute(select(*_columns).where(_k.c.id == key_id)).first()
    return None if row is None else StoredKey._make(row)


def changed_since(connection: Connection, revision: int) -> list[StoredKey]:
    """Every key that changed after that revision."""
    return [StoredKey._make(row) for row in connection.execute(select(*_columns).where(_k.c.revision > revision))]


def revoke(connection: Connection, key_id: str, revision: int) -> bool:
    """Make a key invalid; False when there is no such valid key."""
    query = update(_k).where(_k.c.id == key_id, _k.c.revoked_at.is_(None))
    return connection.execute(query.values(revoked_at=func.clock_timestamp(), revision=revision)).rowcount == 1


def revoke_of(connection: Connection, experiment_id: int, revision: int) -> list[str]:
    """Make the keys of an experiment invalid; returns their ids."""
    query = update(_k).where(_k.c.experiment_id == experiment_id, _k.c.revoked_at.is_(None))
    values = query.values(revoked_at=func.clock_timestamp(), revision=revision)
    return list(connection.execute(values.returning(_k.c.id)).scalars())
