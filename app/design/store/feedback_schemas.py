"""The versions of an experiment's feedback schema (the rewards of explicit answers), and which version applies."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, text, update

from app.foundation.fields import JsonObject
from app.foundation.store import tables
from app.foundation.store.fragments import RETRY_PAUSE

_s = tables.feedback_schemas


class Schema(NamedTuple):
    """One version of an experiment's feedback schema."""

    version: int  # from 1
    schema: JsonObject
    created_at: datetime
    applied_at: datetime | None  # null: outcomes and models do not use it yet
    problem: str | None  # why the last try to apply it failed
    retry_at: datetime | None  # the next try; null: at once


NO_SCHEMA = 0  # the version of rewards to which no answer contributed


def newest_schema(connection: Connection, experiment_id: int, *, applied: bool = False) -> Schema | None:
    """The newest schema, or the newest schema that outcomes and models use."""
    query = select(*[_s.c[name] for name in Schema._fields]).where(_s.c.experiment_id == experiment_id)
    if applied:
        query = query.where(_s.c.applied_at.is_not(None))
    row = connection.execute(query.order_by(_s.c.version.desc()).limit(1)).first()
    return None if row is None else Schema._make(row)


def applied_version(connection: Connection, experiment_id: int) -> int:
    """The version under which rewards are joined now."""
    schema = newest_schema(connection, experiment_id, applied=True)
    return NO_SCHEMA if schema is None else schema.version


def schema_of(connection: Connection, experiment_id: int, version: int) -> JsonObject:
    """One stored schema; they never change."""
    query = select(_s.c.schema).where(_s.c.experiment_id == experiment_id, _s.c.version == version)
    return dict(connection.execute(query).scalar_one())


def add_schema(connection: Connection, experiment_id: int, version: int, schema: Any, *, applied: bool) -> None:
    """Keep a schema; ``applied``: there is nothing to recompute."""
    values = {"experiment_id": experiment_id, "version": version, "schema": schema}
    if applied:
        values["applied_at"] = text("clock_timestamp()")
    connection.execute(insert(_s).values(**values))


def mark_applied(connection: Connection, experiment_id: int, version: int) -> None:
    """Record that outcomes and models use this schema from now on."""
    where = (_s.c.experiment_id == experiment_id) & (_s.c.version == version)
    values = {"applied_at": text("clock_timestamp()"), "problem": None, "retry_at": None}
    connection.execute(update(_s).where(where).values(**values))


_FAILED = text(
    f"""
    UPDATE feedback_schemas s SET problem = :problem, failures = failures + 1,
        retry_at = clock_timestamp() + {RETRY_PAUSE}
    WHERE experiment_id = :experiment_id AND applied_at IS NULL
        AND version = (SELECT max(version) FROM feedback_schemas WHERE experiment_id = :experiment_id)
    """
)


def note_failure(connection: Connection, experiment_id: int, problem: str) -> None:
    """Record why the newest schema could not be applied, and when to try again: each pause is longer than the last."""
    connection.execute(_FAILED, {"experiment_id": experiment_id, "problem": problem})


_WAITING = text(
    """
    SELECT experiment_id FROM (
        SELECT DISTINCT ON (experiment_id) experiment_id, applied_at, retry_at FROM feedback_schemas
        ORDER BY experiment_id, version DESC
    ) newest WHERE applied_at IS NULL AND coalesce(retry_at <= clock_timestamp(), true) ORDER BY experiment_id
    """
)


def waiting_experiments(connection: Connection) -> list[int]:
    """Experiments whose newest schema has to be applied now."""
    return list(connection.execute(_WAITING).scalars())
