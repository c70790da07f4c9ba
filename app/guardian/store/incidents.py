"""Reads and writes incidents."""

from datetime import datetime
from typing import NamedTuple

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection, func, insert, select, text, update

from app.foundation.store import tables

_i = tables.incidents


class StoredIncident(NamedTuple):
    """One incident."""

    id: int
    experiment_id: int
    arm: str
    kind: str
    began_at: datetime
    opened_at: datetime
    closed_at: datetime | None
    evidence: dict[str, JsonValue]
    actions: list[dict[str, JsonValue]]


class NewIncident(NamedTuple):
    """An incident that is about to be stored; fields as in ``StoredIncident``."""

    experiment_id: int
    arm: str
    kind: str
    began_at: datetime
    evidence: dict[str, JsonValue]


_columns = [_i.c[name] for name in StoredIncident._fields]


def add(connection: Connection, incident: NewIncident) -> int:
    """Store an incident; returns its id."""
    return int(connection.execute(insert(_i).values(**incident._asdict(), actions=[]).returning(_i.c.id)).scalar_one())


def newest(connection: Connection, experiment_id: int, most: int) -> list[StoredIncident]:
    """The newest incidents of an experiment, newest first."""
    query = select(*_columns).where(_i.c.experiment_id == experiment_id).order_by(_i.c.id.desc()).limit(most)
    return [StoredIncident._make(row) for row in connection.execute(query)]


def everywhere(connection: Connection, most: int) -> list[StoredIncident]:
    """Incidents of all experiments: first the open ones, then the newest."""
    query = select(*_columns).order_by(_i.c.closed_at.is_not(None), _i.c.id.desc()).limit(most)
    return [StoredIncident._make(row) for row in connection.execute(query)]


def counted(connection: Connection) -> list[tuple[str, str, int]]:
    """The open incidents by experiment and kind; running experiments without one count 0 of the kind ``value_fell``."""
    query = """
        SELECT e.key, coalesce(i.kind, 'value_fell') AS kind, count(i.id)::int AS incidents
        FROM experiments e LEFT JOIN incidents i ON i.experiment_id = e.id AND i.closed_at IS NULL
        WHERE e.status = 'running' OR i.id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
    """
    return [(row.key, row.kind, row.incidents) for row in connection.execute(text(query))]


def still_open(connection: Connection, experiment_id: int) -> list[StoredIncident]:
    """The open incidents of an experiment, newest first."""
    here = (_i.c.experiment_id == experiment_id, _i.c.closed_at.is_(None))
    return [
        StoredIncident._make(row) for row in connection.execute(select(*_columns).where(*here).order_by(_i.c.id.desc()))
    ]


def of_late(connection: Connection) -> list[StoredIncident]:
    """The open incidents of all experiments, and those that were closed within a day, oldest first."""
    recent = _i.c.closed_at.is_(None) | (_i.c.closed_at > func.clock_timestamp() - text("INTERVAL '1 day'"))
    rows = connection.execute(select(*_columns).where(recent).order_by(_i.c.id))
    return [StoredIncident._make(row) for row in rows]


def of_kind(connection: Connection, experiment_id: int, kind: str) -> list[StoredIncident]:
    """The incidents of an experiment of one kind, newest first."""
    here = (_i.c.experiment_id == experiment_id, _i.c.kind == kind)
    rows = connection.execute(select(*_columns).where(*here).order_by(_i.c.id.desc()))
    return [StoredIncident._make(row) for row in rows]


_EVIDENCE = text("UPDATE incidents SET evidence = evidence || CAST(:more AS jsonb) WHERE id = :id")


def add_evidence(connection: Connection, incident_id: int, more: dict[str, JsonValue]) -> None:
    """Add fields to what is known of an incident."""
    connection.execute(_EVIDENCE, {"id": incident_id, "more": orjson.dumps(more).decode()})


def find(connection: Connection, experiment_id: int, incident_id: int) -> StoredIncident | None:
    """One incident, locked until the transaction ends."""
    here = (_i.c.experiment_id == experiment_id, _i.c.id == incident_id)
    row = connection.execute(select(*_columns).where(*here).with_for_update()).first()
    return None if row is None else StoredIncident._make(row)


_ACT = text(
    """
    UPDATE incidents SET actions = actions || jsonb_build_array(
        jsonb_build_object('at', clock_timestamp(), 'actor', CAST(:actor AS text), 'code', CAST(:code AS text)))
    WHERE id = :id
    """
)


def act(connection: Connection, incident_id: int, code: str, actor: str) -> None:
    """Note what was done about an incident."""
    connection.execute(_ACT, {"id": incident_id, "code": code, "actor": actor})


def close(connection: Connection, incident_id: int) -> None:
    """End an incident."""
    connection.execute(update(_i).where(_i.c.id == incident_id).values(closed_at=func.clock_timestamp()))
