"""Candidate policies, evaluations as jobs, and the log rows that they read."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from app.foundation.store import tables
from app.foundation.store.fragments import ITS_OUTCOME
from app.foundation.store.locks import Kind, try_hold

_e = tables.evaluations
_c = tables.candidates


class LoggedRow(NamedTuple):
    """One settled decision with its outcome, as an evaluation sees it."""

    id: str
    arm: str
    unit_id: str
    config_version: int
    policy_version: int
    actions: Any
    eligible: list[str]
    distribution: list[float]
    chosen: int
    propensity: float
    context: Any
    reward: float
    decided_at: Any


def put_candidate(connection: Connection, experiment_id: int, key: str, definition: Any) -> None:
    """Store a candidate, or replace the one of that key."""
    query = upsert(_c).values(experiment_id=experiment_id, key=key, definition=definition)
    columns = ["experiment_id", "key"]
    connection.execute(query.on_conflict_do_update(index_elements=columns, set_={"definition": definition}))


def remove_candidate(connection: Connection, experiment_id: int, key: str) -> None:
    """Forget a candidate; evaluations that were made keep their lines."""
    connection.execute(delete(_c).where(_c.c.experiment_id == experiment_id, _c.c.key == key))


def candidates(connection: Connection, experiment_id: int) -> list[dict[str, Any]]:
    """Definitions of the stored candidates, oldest first."""
    query = select(_c.c.definition).where(_c.c.experiment_id == experiment_id).order_by(_c.c.created_at, _c.c.key)
    return [dict(row) for row in connection.execute(query).scalars()]


def add(connection: Connection, experiment_id: int, request: Any, actor: str) -> int:
    """Queue an evaluation; returns its id."""
    values = {"experiment_id": experiment_id, "request": request, "actor": actor, "status": "queued", "progress": 0.0}
    return int(connection.execute(insert(_e).values(**values).returning(_e.c.id)).scalar_one())


def find(connection: Connection, experiment_id: int, evaluation_id: int) -> Row[*tuple[Any, ...]] | None:
    """One evaluation of an experiment."""
    return connection.execute(select(_e).where(_e.c.experiment_id == experiment_id, _e.c.id == evaluation_id)).first()


def newest(connection: Connection, experiment_id: int, most: int) -> list[Row[*tuple[Any, ...]]]:
    """Newest first."""
    query = select(_e).where(_e.c.experiment_id == experiment_id).order_by(_e.c.id.desc()).limit(most)
    return list(connection.execute(query).all())


def newest_done(connection: Connection, experiment_id: int) -> Row[*tuple[Any, ...]] | None:
    """The newest one that has a result."""
    query = select(_e).where(_e.c.experiment_id == experiment_id, _e.c.status == "done").order_by(_e.c.id.desc())
    return connection.execute(query.limit(1)).first()


class Listed(NamedTuple):
    """One evaluation without its result, which may be large."""

    id: int
    status: str  # queued, running, done, failed
    progress: float  # 0 to 1
    error: str | None
    actor: str
    request: dict[str, Any]
    created_at: Any
    finished_at: Any


def listed(connection: Connection, experiment_id: int, most: int) -> list[Listed]:
    """Newest first, without results."""
    columns = [_e.c[name] for name in Listed._fields]
    query = select(*columns).where(_e.c.experiment_id == experiment_id).order_by(_e.c.id.desc()).limit(most)
    return [Listed._make(row) for row in connection.execute(query)]


def unfinished(connection: Connection) -> list[int]:
    """Ids of evaluations that are queued, or that ran when their worker died, oldest first."""
    query = select(_e.c.id).where(_e.c.status.in_(["queued", "running"])).order_by(_e.c.id)
    return list(connection.execute(query).scalars())


def hold(connection: Connection, evaluation_id: int) -> bool:
    """Take an evaluation for as long as the transaction lasts; False when somebody has it."""
    return try_hold(connection, Kind.EVALUATION, str(evaluation_id))


def by_id(connection: Connection, evaluation_id: int) -> Row[*tuple[Any, ...]]:
    """One evaluation."""
    return connection.execute(select(_e).where(_e.c.id == evaluation_id)).one()


def advance(connection: Connection, evaluation_id: int, progress: float) -> None:
    """Say how far it is (0 to 1)."""
    query = """
        UPDATE evaluations SET status = 'running', progress = :progress,
            started_at = coalesce(started_at, clock_timestamp()) WHERE id = :id
    """
    connection.execute(text(query), {"id": evaluation_id, "progress": progress})


def finish(connection: Connection, evaluation_id: int, result: Any, error: str | None) -> None:
    """Keep the answer, or why there is none."""
    query = (
        update(_e)
        .where(_e.c.id == evaluation_id)
        .values(
            status="done" if error is None else "failed",
            progress=1.0,
            result=bindparam("found", type_=JSONB(none_as_null=True)),
            error=error,
            finished_at=text("clock_timestamp()"),
        )
    )
    connection.execute(query, {"found": result})


_LOG = text(
    """
    SELECT * FROM (
        SELECT d.id, d.arm, d.unit_id, d.config_version, d.policy_version, d.actions, d.eligible, d.distribution,
            d.chosen, d.propensity, d.context, o.reward, d.decided_at
        FROM analysed o JOIN decisions d ON d.id = o.decision_id
        WHERE o.experiment_id = :experiment_id
        ORDER BY d.decided_at DESC, d.id DESC LIMIT :most
    ) newest ORDER BY decided_at, id
    """
).execution_options(stream_results=True, max_row_buffer=5000)


def log_rows(connection: Connection, experiment_id: int, most: int) -> Iterator[LoggedRow]:
    """The newest settled decisions of an experiment, oldest first."""
    given = {"experiment_id": experiment_id, "most": most}
    for row in connection.execute(_LOG, given):
        yield LoggedRow._make(row)


# The newest decisions by the index of their times, and then their outcomes: bounded however long the log is.
_CHOICES = text(
    f"""
    SELECT d.action, d.propensity, o.reward FROM (
        SELECT id, experiment_id, eligible[chosen + 1] AS action, propensity FROM decisions
        WHERE experiment_id = :experiment_id ORDER BY decided_at DESC LIMIT :most
    ) d JOIN analysed o ON {ITS_OUTCOME}
    """
)


def newest_choices(connection: Connection, experiment_id: int, most: int) -> list[tuple[str, float, float]]:
    """(action, propensity, reward) of what is settled among the newest decisions."""
    given = {"experiment_id": experiment_id, "most": most}
    return [(action, propensity, reward) for action, propensity, reward in connection.execute(_CHOICES, given)]
