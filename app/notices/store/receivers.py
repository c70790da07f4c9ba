"""Reads and writes the receivers of notices."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, text, update

from app.foundation.store.tables import notice_messages as _m
from app.foundation.store.tables import notice_receivers as _r
from app.foundation.store.tables import notices as _n


class StoredReceiver(NamedTuple):
    """One receiver."""

    id: int
    key: str
    webhook: str | None
    email: str | None
    form: str
    topics: list[str]
    experiments: list[str]
    person: str | None
    quiet_from: str | None
    quiet_until: str | None
    time_zone: str
    status: str
    created_by: str
    created_at: datetime


_columns = [_r.c[name] for name in StoredReceiver._fields]


def every(connection: Connection) -> list[StoredReceiver]:
    """All receivers by key."""
    return [StoredReceiver._make(row) for row in connection.execute(select(*_columns).order_by(_r.c.key))]


def find(connection: Connection, key: str, *, lock: bool = False) -> StoredReceiver | None:
    """The receiver of that key; with ``lock`` nobody else changes it until the transaction ends."""
    query = select(*_columns).where(_r.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else StoredReceiver._make(row)


def add(connection: Connection, **values: object) -> None:
    """Store a receiver."""
    connection.execute(insert(_r).values(**values))


def change(connection: Connection, receiver_id: int, **values: object) -> None:
    """Set columns."""
    connection.execute(update(_r).where(_r.c.id == receiver_id).values(**values))


def remove(connection: Connection, receiver_id: int) -> None:
    """Delete a receiver; what waits for it has failed."""
    waiting = (_m.c.receiver_id == receiver_id, _m.c.status == "waiting")
    connection.execute(update(_m).where(*waiting).values(status="failed", error="the receiver was deleted"))
    connection.execute(delete(_r).where(_r.c.id == receiver_id))


def test(connection: Connection, receiver_id: int, words: str) -> int:
    """Store a test notice with a message to one receiver; returns the notice's id."""
    values = {
        "experiment_id": 0,
        "topic": "test",
        "condition": "test",
        "text": words,
        "ended_at": text("clock_timestamp()"),
    }
    notice_id = int(connection.execute(insert(_n).values(**values).returning(_n.c.id)).scalar_one())
    connection.execute(insert(_m).values(notice_id=notice_id, receiver_id=receiver_id, state="test"))
    return notice_id


def knows_time_zone(connection: Connection, name: str) -> bool:
    """Whether PostgreSQL knows a time zone of that name."""
    query = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = :name)"
    return bool(connection.execute(text(query), {"name": name}).scalar_one())


def time_zones(connection: Connection) -> list[str]:
    """The names of all time zones of places, and UTC."""
    query = "SELECT name FROM pg_timezone_names WHERE name ~ '^[A-Z][A-Za-z]+/[A-Z]' AND name !~ '^(Etc|SystemV)/' ORDER BY name"
    return ["UTC", *connection.execute(text(query)).scalars()]
