"""Triggers and their firings."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, delete, func, insert, select, text, update

from app.foundation.fields import JsonObject
from app.foundation.store.tables import firings as _f
from app.foundation.store.tables import triggers as _t


class StoredTrigger(NamedTuple):
    """One trigger."""

    id: int
    key: str
    status: str  # running, paused
    definition: JsonObject
    version: int  # of the definition
    created_by: str
    created_at: datetime
    changed_at: datetime
    silent_until: datetime | None  # of an absence: silences complete by then were examined


_columns = [_t.c[name] for name in StoredTrigger._fields]


def add(connection: Connection, *, key: str, definition: JsonObject, created_by: str) -> None:
    """Store a trigger, which is paused."""
    connection.execute(insert(_t).values(key=key, status="paused", definition=definition, created_by=created_by))


def find(connection: Connection, key: str, *, lock: bool = False) -> StoredTrigger | None:
    """The trigger of that key; with ``lock`` nobody else changes it until the transaction ends."""
    query = select(*_columns).where(_t.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else StoredTrigger._make(row)


def newest(connection: Connection, *, after_id: int | None, limit: int) -> list[StoredTrigger]:
    """Newest first; ``after_id`` continues a listing."""
    query = select(*_columns).order_by(_t.c.id.desc()).limit(limit)
    if after_id is not None:
        query = query.where(_t.c.id < after_id)
    return [StoredTrigger._make(row) for row in connection.execute(query)]


def running(connection: Connection) -> list[StoredTrigger]:
    """Every trigger that runs."""
    query = select(*_columns).where(_t.c.status == "running").order_by(_t.c.id)
    return [StoredTrigger._make(row) for row in connection.execute(query)]


def using_webhook(connection: Connection, webhook_key: str) -> list[str]:
    """Keys of the triggers that deliver to a webhook."""
    delivers = _t.c.definition[("delivery", "webhook")].as_string() == webhook_key
    return list(connection.execute(select(_t.c.key).where(delivers).order_by(_t.c.key).limit(10)).scalars())


def define(connection: Connection, trigger_id: int, definition: JsonObject, version: int, *, anew: bool) -> None:
    """Replace the definition.

    :param anew: the pattern changed, so silences that are already complete do not fire the trigger.
    """
    values = {"definition": definition, "version": version, "changed_at": func.clock_timestamp()}
    if anew:
        values["silent_until"] = func.clock_timestamp()
    connection.execute(update(_t).where(_t.c.id == trigger_id).values(**values))


def set_status(connection: Connection, trigger_id: int, status: str) -> None:
    """Start or pause. Silences that are already complete at the start do not fire the trigger."""
    values = {"status": status, "changed_at": func.clock_timestamp(), "silent_until": func.clock_timestamp()}
    connection.execute(update(_t).where(_t.c.id == trigger_id).values(**values))


def set_silent_until(connection: Connection, trigger_id: int, moment: datetime) -> None:
    """Record that every silence complete by ``moment`` was examined."""
    later = func.greatest(_t.c.silent_until, moment)  # it may have been started again in between
    connection.execute(update(_t).where(_t.c.id == trigger_id).values(silent_until=later))


def remove(connection: Connection, trigger_id: int) -> None:
    """Delete a trigger; its firings stay."""
    connection.execute(delete(_t).where(_t.c.id == trigger_id))


class NewFiring(NamedTuple):
    """A firing to be stored. Field names are the columns'."""

    trigger_id: int
    cause: str
    caused_at: datetime
    unit_id: str
    request: JsonObject  # for the message, without a decision id
    priority: int
    delay_s: float


_FIRE = text(
    """
    INSERT INTO firings (trigger_id, cause, caused_at, unit_id, request, status, priority, due_at)
    SELECT i.trigger_id, i.cause, i.caused_at, i.unit_id, i.request, 'waiting', i.priority,
        clock_timestamp() + make_interval(secs => i.delay_s)
    FROM json_to_recordset(:rows) AS i (
        trigger_id bigint, cause text, caused_at timestamptz, unit_id text, request json, priority int, delay_s float8)
    ON CONFLICT (trigger_id, cause) DO NOTHING
    """
)


def fire(connection: Connection, rows: list[NewFiring]) -> int:
    """Store firings; return the number of new ones. The same cause never fires a trigger twice."""
    document = orjson.dumps([row._asdict() for row in rows]).decode()
    return connection.execute(_FIRE, {"rows": document}).rowcount


def causes_of(connection: Connection, trigger_id: int, causes: Sequence[str]) -> set[str]:
    """Return those of these causes that have fired the trigger."""
    query = select(_f.c.cause).where(_f.c.trigger_id == trigger_id, _f.c.cause.in_(causes))
    return set(connection.execute(query).scalars())


def fired_at(
    connection: Connection, trigger_id: int, units: Sequence[str], since: datetime
) -> list[tuple[str, datetime]]:
    """Return the unit and the time of each event after ``since`` that fired a trigger for these units."""
    query = select(_f.c.unit_id, _f.c.caused_at).where(
        _f.c.trigger_id == trigger_id, _f.c.unit_id.in_(units), _f.c.caused_at > since
    )
    return [(row.unit_id, row.caused_at) for row in connection.execute(query)]


class DueFiring(NamedTuple):
    """A firing that is due, with the current state of its trigger."""

    id: int
    unit_id: str
    request: JsonObject
    priority: int
    created_at: datetime
    wait_decision_id: str | None
    key: str | None  # of the trigger; null: it was deleted
    status: str | None  # of the trigger
    definition: JsonObject | None


_DUE = text(
    """
    SELECT f.id, f.unit_id, f.request, f.priority, f.created_at, f.wait_decision_id, t.key, t.status, t.definition
    FROM firings f LEFT JOIN triggers t ON t.id = f.trigger_id
    WHERE f.status = 'waiting' AND f.due_at <= clock_timestamp() ORDER BY f.due_at, f.id LIMIT :most
    """
)


def any_due(connection: Connection) -> bool:
    """True when a firing is due."""
    query = select(_f.c.id).where(_f.c.status == "waiting", _f.c.due_at <= func.clock_timestamp()).limit(1)
    return connection.execute(query).first() is not None


def due(connection: Connection, most: int) -> list[DueFiring]:
    """Return the firings that are due, longest due first."""
    return [DueFiring._make(row) for row in connection.execute(_DUE, {"most": most})]


_WAIT = text(
    """
    UPDATE firings SET wait_decision_id = :decision_id, due_at = created_at + make_interval(secs => :wait_s)
    WHERE id = :id AND status = 'waiting'
    """
)


def wait(connection: Connection, firing_id: int, decision_id: str, wait_s: float) -> None:
    """Make a firing wait for ``wait_s`` seconds since its creation, and record the decision that chose the time."""
    connection.execute(_WAIT, {"id": firing_id, "decision_id": decision_id, "wait_s": wait_s})


def finish(
    connection: Connection, firing_id: int, status: str, *, decision_id: str | None = None, reason: str | None = None
) -> bool:
    """Mark a firing as decided or skipped; False when it was finished before. Its request is deleted."""
    values = {"status": status, "decision_id": decision_id, "reason": reason, "finished_at": func.clock_timestamp()}
    values["request"] = func.json_build_object("experiment", _f.c.request["experiment"].as_string())
    query = update(_f).where(_f.c.id == firing_id, _f.c.status == "waiting").values(**values)
    return connection.execute(query).rowcount == 1


class StoredFiring(NamedTuple):
    """One firing, for reading."""

    id: int
    cause: str
    caused_at: datetime
    unit_id: str
    status: str
    reason: str | None
    due_at: datetime
    wait_decision_id: str | None
    decision_id: str | None
    finished_at: datetime | None
    experiment: str  # the experiment that chooses the message


def firings(connection: Connection, trigger_id: int, *, after_id: int | None, limit: int) -> list[StoredFiring]:
    """Firings of a trigger, newest first; ``after_id`` continues a listing."""
    columns = [_f.c[name] for name in StoredFiring._fields[:-1]]
    query = (
        select(*columns, _f.c.request["experiment"].as_string())
        .where(_f.c.trigger_id == trigger_id)
        .order_by(_f.c.id.desc())
        .limit(limit)
    )
    if after_id is not None:
        query = query.where(_f.c.id < after_id)
    return [StoredFiring._make(row) for row in connection.execute(query)]


_FIRED = text(
    """
    SELECT i.id, (
        SELECT count(*) FROM (
            SELECT f.created_at FROM firings f WHERE f.trigger_id = i.id ORDER BY f.id DESC LIMIT :most
        ) newest WHERE newest.created_at > clock_timestamp() - make_interval(secs => :within_s)
    ) AS fired
    FROM unnest(CAST(:ids AS bigint[])) i (id)
    """
)


def fired(connection: Connection, trigger_ids: Sequence[int], within_s: float, most: int) -> dict[int, int]:
    """By trigger, how many of its newest ``most`` firings were created within the last ``within_s`` seconds."""
    values = {"ids": list(trigger_ids), "within_s": within_s, "most": most}
    return {row.id: row.fired for row in connection.execute(_FIRED, values)}
