"""Events as they were reported, and the list of events that wait to be matched with triggers."""

from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, select, text

from app.foundation.fields import JsonObject
from app.foundation.store.engine import AnyRow
from app.foundation.store.tables import events as _e

FUTURE_S = 300
PAST_S = 7 * 86_400
TOO_LATE = "it lies more than 5 minutes in the future"
TOO_EARLY = "it lies more than 7 days in the past"


class NewEvent(NamedTuple):
    """One event to be stored."""

    event_id: str
    unit_id: str
    name: str
    properties: JsonObject
    body_hash: str
    occurred_at: datetime | None  # null: when it arrives


class StoredEvent(NamedTuple):
    """The stored fields of a receipt."""

    event_id: str
    body_hash: str
    occurred_at: datetime
    received_at: datetime
    ignored: str | None


_stored_columns = [_e.c[name] for name in StoredEvent._fields]

_INSERT = text(
    """
    WITH stored AS (
        INSERT INTO events (event_id, unit_id, name, properties, body_hash, occurred_at, received_at, ignored)
        SELECT i.event_id, i.unit_id, i.name, i.properties, i.body_hash, coalesce(i.occurred_at, n.now), n.now,
            CASE WHEN i.occurred_at > n.now + make_interval(secs => :future_s) THEN :too_late
                WHEN i.occurred_at < n.now - make_interval(secs => :past_s) THEN :too_early END
        FROM json_to_recordset(:rows) AS i (
            event_id text, unit_id text, name text, properties json, body_hash text, occurred_at timestamptz)
        CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
        ON CONFLICT (event_id) DO NOTHING
        RETURNING event_id, body_hash, occurred_at, received_at, ignored
    ), waiting AS (
        INSERT INTO awaiting_match (event_id) SELECT event_id FROM stored WHERE ignored IS NULL
    )
    SELECT event_id, body_hash, occurred_at, received_at, ignored FROM stored
    """
)


def insert_new(connection: Connection, rows: list[NewEvent]) -> dict[str, StoredEvent]:
    """Store events; return the new ones by id. Events that may fire a trigger join the list for matching."""
    values = {"future_s": FUTURE_S, "past_s": PAST_S, "too_late": TOO_LATE, "too_early": TOO_EARLY}
    document = orjson.dumps([row._asdict() for row in rows]).decode()
    stored = connection.execute(_INSERT, {"rows": document, **values})
    return {row.event_id: StoredEvent._make(row) for row in stored}


_UNDO = text(
    """
    WITH gone AS (DELETE FROM events WHERE event_id = ANY(:ids) RETURNING event_id)
    DELETE FROM awaiting_match USING gone WHERE awaiting_match.event_id = gone.event_id
    """
)


def undo(connection: Connection, ids: list[str]) -> None:
    """Delete the events that this transaction has just stored."""
    connection.execute(_UNDO, {"ids": ids})


_FIND = select(*_stored_columns).where(_e.c.event_id.in_(bindparam("ids", expanding=True)))


def find_many(connection: Connection, ids: list[str]) -> dict[str, StoredEvent]:
    """Return the stored events of these ids, by id."""
    return {row.event_id: StoredEvent._make(row) for row in connection.execute(_FIND, {"ids": ids})}


_TAKE = text(
    """
    WITH taken AS (
        DELETE FROM awaiting_match WHERE id IN (
            SELECT id FROM awaiting_match ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED)
        RETURNING id, event_id
    )
    SELECT t.id, e.event_id, e.unit_id, e.name, e.properties, e.occurred_at
    FROM taken t LEFT JOIN events e ON e.event_id = t.event_id ORDER BY t.id
    """
)


def take_waiting(connection: Connection, most: int) -> list[AnyRow]:
    """Take events off the list, oldest first. They stay on it if the transaction does not commit.

    An event that has been erased is null in all columns except the ``id`` of its list entry.
    """
    return list(connection.execute(_TAKE, {"most": most}))


_COUNT = text(
    """
    SELECT (SELECT count(*) FROM (
        SELECT FROM events e WHERE e.unit_id = i.unit_id AND e.name = :name AND e.ignored IS NULL
            AND e.occurred_at > i.at - make_interval(secs => :window_s) AND e.occurred_at <= i.at LIMIT :most) counted)
    FROM unnest(CAST(:units AS text[]), CAST(:ats AS timestamptz[])) WITH ORDINALITY i (unit_id, at, place)
    ORDER BY i.place
    """
)


def counts(
    connection: Connection, at: list[tuple[str, datetime]], *, name: str, window_s: float, most: int
) -> list[int]:
    """For each unit and moment, count the unit's events of that name in the window that ends then, up to ``most``."""
    units, ats = [unit for unit, _ in at], [moment for _, moment in at]
    values = {"units": units, "ats": ats, "name": name, "window_s": window_s, "most": most}
    return list(connection.execute(_COUNT, values).scalars())


_COMPLETING = text(
    """
    SELECT e.event_id, e.unit_id, e.name, e.properties, e.occurred_at
    FROM unnest(CAST(:units AS text[]), CAST(:ats AS timestamptz[])) i (unit_id, at)
    CROSS JOIN LATERAL (
        SELECT * FROM events WHERE unit_id = i.unit_id AND name = :name AND ignored IS NULL AND occurred_at >= i.at
            AND occurred_at < i.at + make_interval(secs => :window_s) ORDER BY occurred_at, event_id LIMIT :count) e
    WHERE (SELECT count(*) FROM (
        SELECT FROM events c WHERE c.unit_id = e.unit_id AND c.name = :name AND c.ignored IS NULL
            AND c.occurred_at > e.occurred_at - make_interval(secs => :window_s) AND c.occurred_at <= e.occurred_at
            AND (c.occurred_at, c.event_id) <= (e.occurred_at, e.event_id) LIMIT :count) counted) >= :count
    """
)


def completing(
    connection: Connection, at: list[tuple[str, datetime]], *, name: str, count: int, window_s: float
) -> list[AnyRow]:
    """Return the events that complete a count and lie at, or less than a window after, one of these units' moments."""
    units, ats = [unit for unit, _ in at], [moment for _, moment in at]
    values = {"units": units, "ats": ats, "name": name, "window_s": window_s, "count": count}
    return list({row.event_id: row for row in connection.execute(_COMPLETING, values)}.values())


_REACHED = text(
    """
    SELECT EXISTS (
        SELECT FROM events e WHERE e.unit_id = i.unit_id AND e.name = :name AND e.ignored IS NULL
            AND (e.occurred_at, e.event_id) < (i.at, i.event_id)
            AND CASE WHEN json_typeof(e.properties #> :path) = 'number'
                THEN (e.properties #>> :path)::numeric >= CAST(:at_least AS float8)::numeric ELSE false END)
    FROM unnest(CAST(:units AS text[]), CAST(:ats AS timestamptz[]), CAST(:ids AS text[]))
        WITH ORDINALITY i (unit_id, at, event_id, place)
    ORDER BY i.place
    """
)


def reached_before(
    connection: Connection, rows: list[AnyRow], *, name: str, path: list[str], at_least: float
) -> list[bool]:
    """For each event, true when an earlier event of its unit and name had already reached that value."""
    values = {
        "units": [row.unit_id for row in rows],
        "ats": [row.occurred_at for row in rows],
        "ids": [row.event_id for row in rows],
    }
    parameters = values | {"name": name, "path": path, "at_least": at_least}
    return list(connection.execute(_REACHED, parameters).scalars())


_OF_ALL_UNITS = "octet_length(e.event_id) > 0"  # opens the index events_name, see its table
_LAST = """
    e.ignored IS NULL AND NOT EXISTS (
        SELECT FROM events l WHERE l.unit_id = e.unit_id AND l.name = e.name AND l.ignored IS NULL
            AND l.occurred_at >= e.occurred_at AND (l.occurred_at, l.event_id) > (e.occurred_at, e.event_id))
"""
_SILENT_SINCE = text(
    f"""
    SELECT e.event_id, e.unit_id, e.name, e.properties, e.occurred_at FROM events e
    WHERE e.name = :name AND e.occurred_at > :since AND e.occurred_at <= :until AND {_OF_ALL_UNITS} AND {_LAST}
    ORDER BY e.occurred_at
    """
)
_BOUND = text(
    f"""
    SELECT occurred_at FROM events e
    WHERE name = :name AND occurred_at > :since AND occurred_at <= :until AND {_OF_ALL_UNITS}
    ORDER BY occurred_at OFFSET :most LIMIT 1
    """
)


def silent_since(
    connection: Connection, *, name: str, since: datetime, until: datetime, most: int
) -> tuple[list[AnyRow], datetime]:
    """Return the last events of units, after ``since`` and up to ``until``, and the moment up to which all were examined.

    :param most: about so many events are examined; if there are more, the moment is earlier than ``until``.
    """
    parameters = {"name": name, "since": since, "until": until}
    bound = connection.execute(_BOUND, parameters | {"most": most}).scalar_one_or_none() or until
    return list(connection.execute(_SILENT_SINCE, parameters | {"until": bound})), bound


_STILL_LAST = text(f"SELECT e.event_id FROM events e WHERE e.event_id = ANY(:ids) AND {_LAST}")


def still_last(connection: Connection, ids: list[str]) -> set[str]:
    """Return those of these events that no later event of their unit and name follows."""
    return set(connection.execute(_STILL_LAST, {"ids": ids}).scalars())


_BETWEEN = text(
    f"""
    SELECT event_id, unit_id, name, properties, occurred_at FROM events e
    WHERE name = :name AND ignored IS NULL AND occurred_at > :since AND occurred_at <= :until AND {_OF_ALL_UNITS}
    ORDER BY occurred_at, event_id LIMIT :most
    """
)


def between(connection: Connection, *, name: str, since: datetime, until: datetime, most: int) -> list[AnyRow]:
    """Return the events of a name in the order of their times."""
    return list(connection.execute(_BETWEEN, {"name": name, "since": since, "until": until, "most": most}))


# One look into the index for each name, however many events there are.
_NAMES = text(
    f"""
    WITH RECURSIVE n AS (
        (SELECT name FROM events e WHERE {_OF_ALL_UNITS} ORDER BY name LIMIT 1)
        UNION ALL
        SELECT (SELECT name FROM events e WHERE e.name > n.name AND {_OF_ALL_UNITS} ORDER BY name LIMIT 1)
        FROM n WHERE n.name IS NOT NULL
    )
    SELECT name FROM n WHERE name IS NOT NULL LIMIT :most
    """
)
_NEWEST = text(
    f"SELECT properties FROM events e WHERE name = :name AND {_OF_ALL_UNITS} ORDER BY occurred_at DESC LIMIT :most"
)


def names(connection: Connection, most: int) -> list[str]:
    """Return the names of events, in their order."""
    return list(connection.execute(_NAMES, {"most": most}).scalars())


def newest_properties(connection: Connection, name: str, most: int) -> list[JsonObject]:
    """Return the properties of the newest events of a name."""
    return list(connection.execute(_NEWEST, {"name": name, "most": most}).scalars())
