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
    """(id, title, key of the experiment that it changes, version, updated by, updated at), the last saved first.

    Drafts into which nobody typed anything are left out.
    """
    query = """
        SELECT d.id,
            coalesce(nullif(d.typed #>> '{document,name}', ''), nullif(d.typed #>> '{document,key}', ''), 'Untitled experiment'),
            e.key, d.version, d.updated_by, d.updated_at
        FROM drafts d LEFT JOIN experiments e ON e.id = d.experiment_id
        WHERE d.version > 1 OR (d.experiment_id IS NULL AND d.typed->'document' IS NOT NULL)
        ORDER BY d.updated_at DESC LIMIT :most
    """
    return [tuple(row) for row in connection.execute(text(query), {"most": LISTED})]


def add(
    connection: Connection, typed: JsonObject, actor: str, experiment_id: int | None, base_version: int | None
) -> int:
    """Store a new draft; returns its id."""
    values = {"typed": typed, "version": 1, "experiment_id": experiment_id, "base_version": base_version}
    query = insert(_d).values(**values, created_by=actor, updated_by=actor).returning(_d.c.id)
    return int(connection.execute(query).scalar_one())


def untouched(connection: Connection, actor: str, experiment_id: int | None, base_version: int | None) -> int | None:
    """Id of somebody's draft into which nothing was typed yet: of a change, or (null) of a new experiment."""
    query = select(func.max(_d.c.id)).where(
        _d.c.created_by == actor,
        _d.c.experiment_id.is_not_distinct_from(experiment_id),
        _d.c.base_version.is_not_distinct_from(base_version),
        _d.c.version == 1,
    )
    if experiment_id is None:
        query = query.where(_d.c.typed.op("->")("document").is_(None))
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
