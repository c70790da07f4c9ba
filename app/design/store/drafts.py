"""Drafts of experiments."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, text, update

from app.foundation.fields import JsonObject
from app.foundation.store import tables

LISTED = 50
_d = tables.drafts
_e = tables.experiments


class StoredDraft(NamedTuple):
    """One draft."""

    id: int
    experiment: str | None  # key of the experiment that it changes; null: it will be a new one
    base_version: int | None  # the configuration that the change began from
    typed: JsonObject  # {"saved": [step], "document": a definition whose values are texts as typed}
    version: int  # one more at each save
    created_by: str
    updated_by: str
    updated_at: Any


def newest(connection: Connection) -> list[tuple[Any, ...]]:
    """(id, title, key of the experiment that it changes, updated by, updated at), the last saved first."""
    query = """
        SELECT d.id,
            coalesce(nullif(d.typed #>> '{document,name}', ''), nullif(d.typed #>> '{document,key}', ''), 'Without a name'),
            e.key, d.updated_by, d.updated_at
        FROM drafts d LEFT JOIN experiments e ON e.id = d.experiment_id ORDER BY d.updated_at DESC LIMIT :most
    """
    return [tuple(row) for row in connection.execute(text(query), {"most": LISTED})]


def add(
    connection: Connection, typed: JsonObject, actor: str, experiment_id: int | None, base_version: int | None
) -> int:
    """Store a new draft; returns its id."""
    values = {"typed": typed, "version": 1, "experiment_id": experiment_id, "base_version": base_version}
    query = insert(_d).values(**values, created_by=actor, updated_by=actor).returning(_d.c.id)
    return int(connection.execute(query).scalar_one())


def untouched(connection: Connection, actor: str, experiment_id: int, base_version: int) -> int | None:
    """Id of somebody's draft of a change into which nothing was typed yet."""
    query = select(func.max(_d.c.id)).where(
        _d.c.created_by == actor,
        _d.c.experiment_id == experiment_id,
        _d.c.base_version == base_version,
        _d.c.version == 1,
    )
    draft_id: int | None = connection.execute(query).scalar_one()
    return draft_id


def find(connection: Connection, draft_id: int, *, lock: bool = False) -> StoredDraft | None:
    """One draft; with ``lock`` nobody else saves it until the transaction ends."""
    columns = [_e.c.key if name == "experiment" else _d.c[name] for name in StoredDraft._fields]
    query = select(*columns).select_from(_d.outerjoin(_e, _e.c.id == _d.c.experiment_id)).where(_d.c.id == draft_id)
    row = connection.execute(query.with_for_update(of=_d) if lock else query).first()
    return None if row is None else StoredDraft._make(row)


def save(connection: Connection, draft_id: int, typed: JsonObject, version: int, actor: str) -> None:
    """Replace the typed document."""
    values = {"typed": typed, "version": version, "updated_by": actor, "updated_at": func.clock_timestamp()}
    connection.execute(update(_d).where(_d.c.id == draft_id).values(**values))


def remove(connection: Connection, draft_id: int) -> None:
    """Delete a draft."""
    connection.execute(delete(_d).where(_d.c.id == draft_id))


def rebase(connection: Connection, draft_id: int, base_version: int) -> None:
    """Let a change begin from another configuration."""
    connection.execute(update(_d).where(_d.c.id == draft_id).values(base_version=base_version))
