"""The triggers that ask an experiment for messages."""

from typing import NamedTuple

from sqlalchemy import Connection, select

from app.foundation.fields import JsonObject
from app.foundation.store import tables

_t = tables.triggers


class TriggerDefinition(NamedTuple):
    """One trigger's key and definition."""

    key: str
    definition: JsonObject


def of_experiment(connection: Connection, key: str) -> list[TriggerDefinition]:
    """The triggers that name an experiment, oldest first."""
    query = select(_t.c.key, _t.c.definition).where(_t.c.definition["experiment"].as_string() == key).order_by(_t.c.id)
    return [TriggerDefinition._make(row) for row in connection.execute(query)]
