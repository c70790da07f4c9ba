"""Experiments and their configurations."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from app.foundation.fields import JsonObject
from app.foundation.store import tables
from app.foundation.store.engine import AnyRow

_e = tables.experiments
_c = tables.experiment_configs


class StoredExperiment(NamedTuple):
    """One experiment with its current configuration."""

    id: int
    key: str
    status: str  # draft, running, paused, concluded
    salt: bytes
    config_version: int
    revision: int
    created_at: datetime
    started_at: datetime | None  # null: never started
    concluded_at: datetime | None  # null: not concluded
    conclusion: str | None
    owner: str  # who created it: a user's name, an API key's id, or cli
    archived_at: datetime | None  # null: lists show it
    starts_at: datetime | None  # when the worker starts it; null: a person does
    ends_at: datetime | None  # when the worker concludes it; null: a person does
    ends_with: str | None  # what callers get from then on: error, control
    scheduled_by: str | None
    tags: list[str]
    config: JsonObject


_columns = [_e.c[name] for name in StoredExperiment._fields if name != "config"]
_with_config = select(*_columns, _c.c.config).join(
    _c, (_c.c.experiment_id == _e.c.id) & (_c.c.version == _e.c.config_version)
)


def _stored(row: AnyRow) -> StoredExperiment:
    return StoredExperiment._make(row)


def add(connection: Connection, *, key: str, salt: bytes, config: JsonObject, revision: int, owner: str) -> int:
    """Store a new draft; returns its id."""
    values = {"key": key, "status": "draft", "salt": salt, "config_version": 1, "revision": revision, "owner": owner}
    experiment_id = connection.execute(insert(_e).values(**values).returning(_e.c.id)).scalar_one()
    connection.execute(insert(_c).values(experiment_id=experiment_id, version=1, config=config))
    return int(experiment_id)


def find(connection: Connection, key: str, *, lock: bool = False) -> StoredExperiment | None:
    """The experiment with that key; with ``lock`` nobody else changes it until the transaction ends."""
    query = _with_config.where(_e.c.key == key)
    row = connection.execute(query.with_for_update(of=_e) if lock else query).first()
    return None if row is None else _stored(row)


def key_of(connection: Connection, experiment_id: int) -> str:
    """The key of an experiment, which exists."""
    return str(connection.execute(select(_e.c.key).where(_e.c.id == experiment_id)).scalar_one())


def keys_of(connection: Connection, experiment_ids: Collection[int]) -> dict[int, str]:
    """The keys of experiments, by their ids."""
    query = select(_e.c.id, _e.c.key).where(_e.c.id.in_(experiment_ids))
    return {row.id: row.key for row in connection.execute(query)}


def keys_of_all(connection: Connection) -> dict[int, str]:
    """The keys of all experiments, by their ids."""
    return {row.id: row.key for row in connection.execute(select(_e.c.id, _e.c.key))}


def all_ids(connection: Connection) -> frozenset[int]:
    """The ids of all experiments."""
    return frozenset(connection.execute(select(_e.c.id)).scalars())


def all_keys(connection: Connection) -> list[str]:
    """The keys of all experiments, oldest first."""
    return list(connection.execute(select(_e.c.key).order_by(_e.c.id)).scalars())


def by_id(connection: Connection, experiment_id: int) -> StoredExperiment:
    """The experiment with that id, which exists."""
    return _stored(connection.execute(_with_config.where(_e.c.id == experiment_id)).one())


def changed_since(connection: Connection, revision: int) -> list[StoredExperiment]:
    """Every experiment that changed after a revision."""
    return [_stored(row) for row in connection.execute(_with_config.where(_e.c.revision > revision))]


def newest(connection: Connection, *, after_id: int | None, limit: int) -> list[StoredExperiment]:
    """Newest first; ``after_id`` continues a listing."""
    query = _with_config.order_by(_e.c.id.desc()).limit(limit)
    if after_id is not None:
        query = query.where(_e.c.id < after_id)
    return [_stored(row) for row in connection.execute(query)]


def config_of(connection: Connection, experiment_id: int, version: int) -> JsonObject:
    """One stored configuration; they never change."""
    query = select(_c.c.config).where(_c.c.experiment_id == experiment_id, _c.c.version == version)
    return dict(connection.execute(query).scalar_one())


def config_times(connection: Connection, experiment_id: int) -> dict[int, datetime]:
    """When each configuration was made, by version."""
    query = select(_c.c.version, _c.c.created_at).where(_c.c.experiment_id == experiment_id)
    return {row.version: row.created_at for row in connection.execute(query)}


def add_config(connection: Connection, experiment_id: int, version: int, config: JsonObject, revision: int) -> None:
    """Make ``config`` the experiment's newest version."""
    connection.execute(insert(_c).values(experiment_id=experiment_id, version=version, config=config))
    connection.execute(update(_e).where(_e.c.id == experiment_id).values(config_version=version, revision=revision))


def set_status(connection: Connection, experiment_id: int, status: str, revision: int, conclusion: str | None) -> None:
    """Move the experiment to a status, with the times that belong to it."""
    values: JsonObject = {"status": status, "revision": revision}
    if status == "running":
        values["started_at"] = func.coalesce(_e.c.started_at, func.clock_timestamp())
        values["archived_at"] = None
    if status == "concluded":
        values |= {"concluded_at": func.clock_timestamp(), "conclusion": conclusion}
    connection.execute(update(_e).where(_e.c.id == experiment_id).values(**values))


def set_archived(connection: Connection, experiment_id: int, archived: bool) -> None:
    """Let lists leave the experiment out, or show it again."""
    at = func.clock_timestamp() if archived else None
    connection.execute(update(_e).where(_e.c.id == experiment_id).values(archived_at=at))


def set_labels(connection: Connection, experiment_id: int, tags: list[str], owner: str) -> None:
    """Replace the tags and the owner."""
    connection.execute(update(_e).where(_e.c.id == experiment_id).values(tags=tags, owner=owner))


class Schedule(NamedTuple):
    """When an experiment begins and ends by itself."""

    starts_at: datetime | None  # null: a person starts it
    ends_at: datetime | None  # null: a person concludes it
    ends_with: str | None  # what callers get from then on: error, control
    scheduled_by: str | None


def set_schedule(connection: Connection, experiment_id: int, schedule: Schedule) -> None:
    """Replace when the experiment begins and ends."""
    connection.execute(update(_e).where(_e.c.id == experiment_id).values(**schedule._asdict()))


def to_start(connection: Connection) -> list[str]:
    """Keys of the drafts whose time to start has come."""
    query = select(_e.c.key).where(_e.c.status == "draft", _e.c.starts_at <= func.clock_timestamp()).order_by(_e.c.id)
    return list(connection.execute(query).scalars())


def to_end(connection: Connection) -> list[str]:
    """Keys of the started experiments whose time to end has come."""
    over = _e.c.ends_at <= func.clock_timestamp()
    query = select(_e.c.key).where(_e.c.status.in_(("running", "paused")), over).order_by(_e.c.id)
    return list(connection.execute(query).scalars())


def remove_draft(connection: Connection, experiment_id: int) -> None:
    """Delete an experiment that never ran. Its configurations stay, as every change of the past does."""
    for table in (
        tables.stars,
        tables.lineages,
        tables.warm_lessons,
        tables.latest,
        tables.candidates,
        tables.feedback_schemas,
        tables.drafts,
    ):
        connection.execute(delete(table).where(table.c.experiment_id == experiment_id))
    connection.execute(delete(_e).where(_e.c.id == experiment_id))
