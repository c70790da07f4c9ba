"""The consent ledger: lines are only added; the newest line of a unit and purpose applies."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from app.foundation.store import tables

CLOCKS_DIFFER_S = 300.0  # of the reporting apps, at most
_c = tables.consents


class Consent(NamedTuple):
    """One line."""

    purpose: str
    status: str
    text_version: str
    source: str
    occurred_at: datetime
    recorded_at: datetime


class Said(NamedTuple):
    """A new answer of a unit."""

    purpose: str
    status: str
    text_version: str
    source: str
    occurred_at: datetime | None  # null: now


_columns = [_c.c[name] for name in Consent._fields]


# The newest line applies, but never a yes that was said before the last no: a yes that is reported late, or again, does not
# undo a revocation in the meantime.
_MAY_HOLD = """
    NOT (c.status = 'granted' AND c.occurred_at < coalesce((
        SELECT n.occurred_at FROM consents n
        WHERE n.unit_id = c.unit_id AND n.purpose = c.purpose AND n.id < c.id AND n.status <> 'granted'
        ORDER BY n.id DESC LIMIT 1), '-infinity'))
"""


def current(connection: Connection, unit_id: str) -> dict[str, Consent]:
    """The current consent by purpose."""
    query = f"""
        SELECT DISTINCT ON (purpose) {", ".join(Consent._fields)} FROM consents c
        WHERE unit_id = :unit_id AND {_MAY_HOLD} ORDER BY purpose, id DESC
    """
    return {row.purpose: Consent(**row._asdict()) for row in connection.execute(text(query), {"unit_id": unit_id})}


def ledger(connection: Connection, unit_id: str, most: int) -> list[Consent]:
    """All lines of a unit, newest first."""
    query = select(*_columns).where(_c.c.unit_id == unit_id).order_by(_c.c.id.desc()).limit(most)
    return [Consent(**row._asdict()) for row in connection.execute(query)]


def add(connection: Connection, unit_id: str, answer: Said, actor: str) -> None:
    """Write one line. Without ``occurred_at``, or with a time too far in the future for any clock, it happened now."""
    query = """
        INSERT INTO consents (unit_id, purpose, status, text_version, source, occurred_at, actor)
        SELECT :unit_id, :purpose, :status, :text_version, :source,
            CASE WHEN said.at <= now + make_interval(secs => :ahead_s) THEN said.at ELSE now END, :actor
        FROM clock_timestamp() AS now, (SELECT CAST(:occurred_at AS timestamptz) AS at) said
    """
    values = {"unit_id": unit_id, **answer._asdict(), "actor": actor, "ahead_s": CLOCKS_DIFFER_S}
    connection.execute(text(query), values)


def counts(connection: Connection) -> list[tuple[str, str, int]]:
    """The current consent of all units as (purpose, status, units); reads the whole ledger, in the order of its index."""
    query = f"""
        SELECT purpose, status, count(*) AS units FROM (
            SELECT DISTINCT ON (unit_id, purpose) purpose, status FROM consents c WHERE {_MAY_HOLD}
            ORDER BY unit_id DESC, purpose DESC, id DESC
        ) newest GROUP BY purpose, status ORDER BY purpose, status
    """
    return [(row.purpose, row.status, row.units) for row in connection.execute(text(query))]


def changed_at(connection: Connection) -> datetime | None:
    """When the ledger last changed, by a new line or an erasure; null: never."""
    query = """
        SELECT greatest((SELECT recorded_at FROM consents ORDER BY id DESC LIMIT 1), (SELECT max(done_at) FROM erasures))
    """
    changed: datetime | None = connection.execute(text(query)).scalar_one()
    return changed
