"""The consent ledger: lines are only added; the newest of a unit and purpose is what holds."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from app.store import message_tables as tables

_c = tables.consents


class Consent(NamedTuple):
    """One line."""

    purpose: str
    status: str
    text_version: str
    source: str
    occurred_at: datetime
    recorded_at: datetime


_columns = [_c.c[name] for name in Consent._fields]


def current(connection: Connection, unit_id: str) -> dict[str, Consent]:
    """By purpose, what holds: the newest line, but never a yes that was said before the no which holds.

    So a report of a yes that was delayed, or is sent again, does not undo what the person revoked meanwhile.
    """
    held: dict[str, Consent] = {}
    query = select(*_columns).where(_c.c.unit_id == unit_id).order_by(_c.c.id)
    for line in map(Consent._make, connection.execute(query)):
        before = held.get(line.purpose)
        if (
            before is None
            or line.status != "granted"
            or before.status == "granted"
            or line.occurred_at >= before.occurred_at
        ):
            held[line.purpose] = line
    return held


def ledger(connection: Connection, unit_id: str, most: int) -> list[Consent]:
    """All lines of a unit, newest first."""
    query = select(*_columns).where(_c.c.unit_id == unit_id).order_by(_c.c.id.desc()).limit(most)
    return [Consent._make(row) for row in connection.execute(query)]


def add(
    connection: Connection,
    unit_id: str,
    purpose: str,
    status: str,
    *,
    text_version: str,
    source: str,
    occurred_at: datetime | None,
    actor: str,
) -> None:
    """Write one line; without ``occurred_at``, or with one in the future, it happened now."""
    query = """
        INSERT INTO consents (unit_id, purpose, status, text_version, source, occurred_at, actor)
        SELECT :unit_id, :purpose, :status, :text_version, :source, least(coalesce(:occurred_at, now), now), :actor
        FROM clock_timestamp() AS now
    """
    values = {"unit_id": unit_id, "purpose": purpose, "status": status, "text_version": text_version}
    connection.execute(text(query), values | {"source": source, "occurred_at": occurred_at, "actor": actor})


def counts(connection: Connection) -> list[tuple[str, str, int]]:
    """(purpose, status, units) of what holds now, over all units: reads the whole ledger, in its index's order."""
    query = """
        SELECT purpose, status, count(*) FROM (
            SELECT DISTINCT ON (unit_id, purpose) purpose, status FROM consents ORDER BY unit_id DESC, purpose DESC, id DESC
        ) newest GROUP BY purpose, status ORDER BY purpose, status
    """
    return [(row[0], row[1], row[2]) for row in connection.execute(text(query))]


def changed_at(connection: Connection) -> datetime | None:
    """When the ledger changed last: by a new line, or by an erasure; null: never."""
    query = """
        SELECT greatest((SELECT recorded_at FROM consents ORDER BY id DESC LIMIT 1), (SELECT max(done_at) FROM erasures))
    """
    changed: datetime | None = connection.execute(text(query)).scalar_one()
    return changed
