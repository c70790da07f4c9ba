"""Webhooks: addresses that messages are sent to. Their secrets are derived, and not here."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from app.store.message_tables import webhooks as _w


class StoredWebhook(NamedTuple):
    """One webhook."""

    id: int
    key: str
    url: str
    secret_version: int
    status: str  # running, paused
    created_by: str
    created_at: datetime


_columns = [_w.c[name] for name in StoredWebhook._fields]


def add(connection: Connection, *, key: str, url: str, created_by: str) -> None:
    """Store a webhook, which runs."""
    values = {"key": key, "url": url, "secret_version": 1, "status": "running", "created_by": created_by}
    connection.execute(insert(_w).values(**values))


def find(connection: Connection, key: str, *, lock: bool = False) -> StoredWebhook | None:
    """The webhook of that key; with ``lock`` nobody else changes it until the transaction ends."""
    query = select(*_columns).where(_w.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else StoredWebhook._make(row)


def newest(connection: Connection, *, after_id: int | None, limit: int) -> list[StoredWebhook]:
    """Newest first; ``after_id`` continues a listing."""
    query = select(*_columns).order_by(_w.c.id.desc()).limit(limit)
    if after_id is not None:
        query = query.where(_w.c.id < after_id)
    return [StoredWebhook._make(row) for row in connection.execute(query)]


def change(connection: Connection, webhook_id: int, **values: Any) -> None:
    """Set columns."""
    connection.execute(update(_w).where(_w.c.id == webhook_id).values(**values))


def remove(connection: Connection, webhook_id: int) -> None:
    """Forget a webhook; its deliveries stay."""
    connection.execute(delete(_w).where(_w.c.id == webhook_id))
