"""The filters of the list of experiments that people have saved, and what can be filtered by."""

from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.foundation.fields import JsonObject
from app.foundation.store import tables

_f = tables.saved_filters
_e = tables.experiments


class StoredFilter(NamedTuple):
    """A named filter."""

    name: str
    filter: dict[str, JsonValue]


def put(connection: Connection, user_id: int, name: str, document: JsonObject) -> None:
    """Save a filter in the place of the person's filter with the same name."""
    values = insert(_f).values(user_id=user_id, name=name, filter=document)
    replaced = values.on_conflict_do_update(index_elements=[_f.c.user_id, _f.c.name], set_={"filter": document})
    connection.execute(replaced)


def remove(connection: Connection, user_id: int, name: str) -> None:
    """Forget a filter; without one of that name, nothing happens."""
    connection.execute(delete(_f).where(_f.c.user_id == user_id, _f.c.name == name))


def of_user(connection: Connection, user_id: int) -> list[StoredFilter]:
    """A person's filters by name."""
    rows = connection.execute(select(_f.c.name, _f.c.filter).where(_f.c.user_id == user_id).order_by(_f.c.name))
    return [StoredFilter(row.name, row.filter) for row in rows]


def tags(connection: Connection) -> list[str]:
    """The tags of all experiments."""
    return sorted(connection.execute(select(func.unnest(_e.c.tags)).distinct()).scalars())


def owners(connection: Connection) -> list[str]:
    """The owners of all experiments."""
    return sorted(connection.execute(select(_e.c.owner).distinct()).scalars())
