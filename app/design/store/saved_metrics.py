"""Reads and writes the library of metrics."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.foundation.fields import JsonObject
from app.foundation.store import tables

_m = tables.saved_metrics


class StoredMetric(NamedTuple):
    """One metric."""

    key: str
    definition: JsonObject
    version: int
    actor: str
    saved_at: datetime


_columns = [_m.c[name] for name in StoredMetric._fields]


def every(connection: Connection) -> list[StoredMetric]:
    """All metrics, by key."""
    return [StoredMetric._make(row) for row in connection.execute(select(*_columns).order_by(_m.c.key))]


def count(connection: Connection) -> int:
    """How many there are."""
    return int(connection.execute(select(func.count()).select_from(_m)).scalar_one())


def find(connection: Connection, key: str, *, lock: bool = False) -> StoredMetric | None:
    """One metric; with ``lock`` nobody else changes it until the transaction ends."""
    query = select(*_columns).where(_m.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else StoredMetric._make(row)


class Use(NamedTuple):
    """A metric of an experiment that has the key of a saved one."""

    key: str
    experiment: str
    definition: JsonObject


_USES = text(
    """
    SELECT s.key, e.key AS experiment, m.definition FROM experiments e
    JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
    CROSS JOIN LATERAL json_array_elements(
        CASE WHEN json_typeof(c.config->'metrics') = 'array' THEN c.config->'metrics' END) AS m (definition)
    JOIN saved_metrics s ON s.key = m.definition->>'key' ORDER BY 1, 2
    """
)


def uses(connection: Connection) -> list[Use]:
    """The metrics of experiments that have the key of a saved metric."""
    return [Use._make(row) for row in connection.execute(_USES)]


def put(connection: Connection, key: str, definition: JsonObject, actor: str) -> None:
    """Store a metric; its version is one more than before."""
    new = insert(_m).values(key=key, definition=definition, version=1, actor=actor)
    values = {"definition": definition, "version": _m.c.version + 1, "actor": actor, "saved_at": func.clock_timestamp()}
    connection.execute(new.on_conflict_do_update(index_elements=[_m.c.key], set_=values))


def remove(connection: Connection, key: str) -> None:
    """Delete a metric."""
    connection.execute(delete(_m).where(_m.c.key == key))
