"""The names of stored events and their properties, for forms that name them."""

from typing import NamedTuple

from sqlalchemy import Engine

from app.foundation.fields import JsonObject
from app.foundation.store.engine import transaction
from app.messaging.store import events as store

MOST_NAMES = 50
NEWEST = 20  # events of each name whose properties are read
DEEPEST = 3  # objects inside each other


class KnownEvents(NamedTuple):
    """What stored events are called."""

    names: list[str]
    properties: list[str]  # that hold a number; names joined by dots lead into nested objects


def known_events(engine: Engine) -> KnownEvents:
    """The names of events, and the properties with numbers of the newest of each name."""
    with transaction(engine) as connection:
        names = store.names(connection, MOST_NAMES)
        rows = [properties for name in names for properties in store.newest_properties(connection, name, NEWEST)]
    return KnownEvents(names, sorted({path for properties in rows for path in _numbers(properties)}))


def _numbers(properties: JsonObject, within: str = "", depth: int = 1) -> list[str]:
    paths: list[str] = []
    for name, value in properties.items():
        if isinstance(value, dict) and depth < DEEPEST:
            paths += _numbers(value, f"{within}{name}.", depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool) and not {".", " "} & {*name}:
            paths.append(within + name)
    return paths
