"""Webhooks: addresses that messages are sent to. Their secrets are derived and never stored."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, text, update

from app.foundation.store.tables import notice_receivers
from app.foundation.store.tables import webhooks as _w


class StoredWebhook(NamedTuple):
    """One webhook."""

    id: int
    key: str
    url: str
    secret_version: int
    version: int  # of address and secret
    status: str  # running, paused
    created_by: str
    created_at: datetime
    silent_since: datetime | None  # no call was answered since then; null: the last call was
    retry_at: datetime | None  # of a silent webhook: no call before then; null: the next call may come at once


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


def change(connection: Connection, webhook_id: int, **values: object) -> None:
    """Set columns."""
    connection.execute(update(_w).where(_w.c.id == webhook_id).values(**values))


def remove(connection: Connection, webhook_id: int) -> None:
    """Delete a webhook; its deliveries stay."""
    connection.execute(delete(_w).where(_w.c.id == webhook_id))


def receivers_of_notices(connection: Connection, key: str) -> list[str]:
    """Keys of the receivers of notices that a webhook serves."""
    query = select(notice_receivers.c.key).where(notice_receivers.c.webhook == key)
    return list(connection.execute(query.order_by(notice_receivers.c.key)).scalars())


class Trouble(NamedTuple):
    """A running webhook that keeps failing."""

    key: str
    silent: bool  # it does not answer; false: it refuses what it gets


_TROUBLED = text(
    """
    SELECT w.key, coalesce(w.silent_since < clock_timestamp() - make_interval(secs => :silent_s), false) AS silent
    FROM webhooks w WHERE w.status = 'running' AND (
        w.silent_since < clock_timestamp() - make_interval(secs => :silent_s)
        OR EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'waiting' AND d.attempts >= :attempts))
    ORDER BY w.key
    """
)


def troubled(connection: Connection, *, silent_s: float, attempts: int) -> list[Trouble]:
    """Running webhooks that have been silent for so long, or refused the same delivery so often."""
    rows = connection.execute(_TROUBLED, {"silent_s": silent_s, "attempts": attempts})
    return [Trouble(row.key, row.silent) for row in rows]


HEARD: dict[str, None] = {"silent_since": None, "retry_at": None}  # the webhook is not silent
_SILENT = text(
    """
    UPDATE webhooks w SET silent_since = coalesce(silent_since, n.now), retry_at = n.now + make_interval(
        secs => least(:longest_s, greatest(:shortest_s, extract(epoch FROM n.now - coalesce(silent_since, n.now)))))
    FROM (SELECT clock_timestamp() AS now OFFSET 0) n WHERE w.id = :id AND w.url = :url
    """
)
SHORTEST_S = 2.0


def fell_silent(connection: Connection, webhook_id: int, url: str | None, *, longest_s: float) -> None:
    """Record an unanswered call. The next call waits for as long as the silence has lasted.

    :param url: the address that was called; if the webhook has another by now, nothing is recorded.
    """
    values = {"id": webhook_id, "url": url, "shortest_s": SHORTEST_S, "longest_s": longest_s}
    connection.execute(_SILENT, values)


def answered(connection: Connection, webhook_id: int) -> None:
    """Record that a call was answered, with whatever status."""
    connection.execute(update(_w).where(_w.c.id == webhook_id, _w.c.silent_since.is_not(None)).values(HEARD))


def hurry(connection: Connection, webhook_id: int) -> None:
    """Allow the next call to a silent webhook at once."""
    connection.execute(update(_w).where(_w.c.id == webhook_id, _w.c.retry_at.is_not(None)).values(retry_at=None))


def silent(connection: Connection) -> list[str]:
    """Keys of the running webhooks whose last call was not answered."""
    query = "SELECT key FROM webhooks WHERE silent_since IS NOT NULL AND status = 'running' ORDER BY key"
    return list(connection.execute(text(query)).scalars())
