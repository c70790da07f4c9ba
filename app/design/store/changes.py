"""Reads the trail of changes, newest first."""

from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, select

from app.foundation.store import tables

_c = tables.changes
_e = tables.experiments
_k = tables.api_keys


class Change(NamedTuple):
    """One line of the trail."""

    id: int
    at: datetime
    actor: str  # a user's name, an API key's id, cli or worker
    key_name: str | None  # of the API key, when one acted
    kind: str
    experiment: str | None  # key
    before: dict[str, JsonValue] | None
    after: dict[str, JsonValue] | None
    reason: str | None


def newest(
    connection: Connection,
    *,
    experiment_id: int | None = None,
    actor: str | None = None,
    kind: str | None = None,
    before_id: int | None = None,
    most: int = 50,
) -> list[Change]:
    """Lines of the trail, newest first; ``before_id`` continues a listing."""
    columns = [_c.c.id, _c.c.at, _c.c.actor, _k.c.name, _c.c.kind, _e.c.key, _c.c.before, _c.c.after, _c.c.reason]
    joined = _c.outerjoin(_e, _e.c.id == _c.c.experiment_id).outerjoin(_k, _k.c.id == _c.c.actor)
    query = select(*columns).select_from(joined).order_by(_c.c.id.desc()).limit(most)
    for column, value in ((_c.c.experiment_id, experiment_id), (_c.c.actor, actor), (_c.c.kind, kind)):
        if value is not None:
            query = query.where(column == value)
    if before_id is not None:
        query = query.where(_c.c.id < before_id)
    return [Change._make(row) for row in connection.execute(query)]
