"""Stores evaluation jobs, and reads the log rows of an evaluation."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from app.deciding.store.counts import Counted
from app.foundation.store import tables
from app.foundation.store.fragments import ABOVE, ITS_OUTCOME, KNOWN_CHANCES, NOT_TRIAL, WITHOUT_HELD_OUT, its_decision
from app.foundation.store.locks import Kind, try_hold
from app.foundation.store.locks import hold as hold_lock

_e = tables.evaluations


class LoggedRow(NamedTuple):
    """The fields of a settled decision that an evaluation reads."""

    id: str
    arm: str
    unit_id: str
    config_version: int
    policy_version: int
    actions: list[dict[str, JsonValue]] | None  # the candidates of the call; null: the configuration's actions
    eligible: list[str]
    distribution: list[float]
    chosen: int
    propensity: float
    context: dict[str, JsonValue]
    reward: float
    decided_at: datetime
    arm_distributions: dict[str, list[float]] | None = None  # of an imported log: every arm's, by arm
    above: list[str] | None = None  # the actions at earlier positions of its list
    learns: bool = True  # False: its unit refuses learning, or it is held out of rounds
    stands_for: float | None = None  # of an imported log that was thinned out: how many decisions; null: one
    counted: Counted | None = None  # what it saw of the arms' windows


def add(connection: Connection, experiment_id: int, request: Mapping[str, JsonValue], actor: str) -> int:
    """Queue an evaluation; returns its id."""
    values = {"experiment_id": experiment_id, "request": request, "actor": actor, "status": "queued", "progress": 0.0}
    return int(connection.execute(insert(_e).values(**values).returning(_e.c.id)).scalar_one())


class Evaluation(NamedTuple):
    """One evaluation as it is stored."""

    id: int
    experiment_id: int
    status: str  # queued, running, done, failed
    progress: float  # 0 to 1
    request: dict[str, JsonValue]
    result: dict[str, JsonValue] | None
    error: str | None
    actor: str
    created_at: datetime
    finished_at: datetime | None


_COLUMNS = [_e.c[name] for name in Evaluation._fields]


def find(connection: Connection, experiment_id: int, evaluation_id: int) -> Evaluation | None:
    """One evaluation of an experiment."""
    query = select(*_COLUMNS).where(_e.c.experiment_id == experiment_id, _e.c.id == evaluation_id)
    row = connection.execute(query).first()
    return None if row is None else Evaluation(**row._asdict())


def find_own(connection: Connection, experiment_id: int, own_id: str) -> Evaluation | None:
    """One evaluation of an experiment by the id that its caller gave it."""
    query = select(*_COLUMNS).where(_e.c.experiment_id == experiment_id, _e.c.request["own_id"].astext == own_id)
    row = connection.execute(query).first()
    return None if row is None else Evaluation(**row._asdict())


def hold_own_id(connection: Connection, experiment_id: int, own_id: str) -> None:
    """Let nobody else use an id of a caller's until the transaction ends."""
    hold_lock(connection, Kind.EVALUATION_ID, f"{experiment_id} {own_id}")


def remove(connection: Connection, evaluation_id: int) -> None:
    """Remove an evaluation."""
    connection.execute(delete(_e).where(_e.c.id == evaluation_id))


def newest(connection: Connection, experiment_id: int, most: int) -> list[Evaluation]:
    """The newest ``most`` evaluations, newest first."""
    query = select(*_COLUMNS).where(_e.c.experiment_id == experiment_id).order_by(_e.c.id.desc()).limit(most)
    return [Evaluation(**row._asdict()) for row in connection.execute(query)]


def newest_done(connection: Connection, experiment_id: int) -> Evaluation | None:
    """The newest evaluation that has a result."""
    query = select(*_COLUMNS).where(_e.c.experiment_id == experiment_id, _e.c.status == "done")
    row = connection.execute(query.order_by(_e.c.id.desc()).limit(1)).first()
    return None if row is None else Evaluation(**row._asdict())


def newest_price(connection: Connection, experiment_id: int) -> Evaluation | None:
    """The newest evaluation that asks for a price, done or not."""
    asks = _e.c.request["price"].as_string().is_not(None)
    query = select(*_COLUMNS).where(_e.c.experiment_id == experiment_id, asks).order_by(_e.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Evaluation(**row._asdict())


class Listed(NamedTuple):
    """One evaluation without its result, which may be large."""

    id: int
    status: str  # queued, running, done, failed
    progress: float  # 0 to 1
    error: str | None
    actor: str
    request: dict[str, JsonValue]
    created_at: datetime
    finished_at: datetime | None


def listed(connection: Connection, experiment_id: int, most: int) -> list[Listed]:
    """The newest ``most`` evaluations without results, newest first."""
    columns = [_e.c[name] for name in Listed._fields]
    query = select(*columns).where(_e.c.experiment_id == experiment_id).order_by(_e.c.id.desc()).limit(most)
    return [Listed(**row._asdict()) for row in connection.execute(query)]


def unfinished(connection: Connection) -> list[int]:
    """Ids of evaluations that are queued, or were running when their worker died, oldest first."""
    query = select(_e.c.id).where(_e.c.status.in_(["queued", "running"])).order_by(_e.c.id)
    return list(connection.execute(query).scalars())


def hold(connection: Connection, evaluation_id: int) -> bool:
    """Lock an evaluation until the transaction ends; False when another worker holds the lock."""
    return try_hold(connection, Kind.EVALUATION, str(evaluation_id))


def by_id(connection: Connection, evaluation_id: int) -> Evaluation:
    """One evaluation."""
    row = connection.execute(select(*_COLUMNS).where(_e.c.id == evaluation_id)).one()
    return Evaluation(**row._asdict())


def waiting(connection: Connection, evaluation_id: int) -> Evaluation | None:
    """One evaluation that is to be computed; null: it was, or it was removed."""
    query = select(*_COLUMNS).where(_e.c.id == evaluation_id, _e.c.status.in_(["queued", "running"]))
    row = connection.execute(query).first()
    return None if row is None else Evaluation(**row._asdict())


def advance(connection: Connection, evaluation_id: int, progress: float) -> None:
    """Store the progress, from 0 to 1."""
    query = """
        UPDATE evaluations SET status = 'running', progress = :progress,
            started_at = coalesce(started_at, clock_timestamp()) WHERE id = :id
    """
    connection.execute(text(query), {"id": evaluation_id, "progress": progress})


def finish(
    connection: Connection, evaluation_id: int, result: Mapping[str, JsonValue] | None, error: str | None
) -> None:
    """Store the result, or the error."""
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
    f"""
    SELECT * FROM (
        SELECT d.id, d.arm, d.unit_id, d.config_version, d.policy_version, d.actions, d.eligible,
            {KNOWN_CHANCES} AS distribution, d.chosen, d.propensity, d.context, o.reward, d.decided_at, d.arm_distributions,
            {ABOVE} AS above,
            d.erased_at IS NULL
            AND NOT coalesce('learn' = ANY(d.withheld), false)
            AND NOT EXISTS (SELECT FROM restrictions u WHERE u.unit_id = d.unit_id AND 'learn' = ANY(u.denied))
            AND NOT EXISTS (SELECT FROM held_out h WHERE h.experiment_id = o.experiment_id
                AND h.decision_id = o.decision_id AND h.status = 'held') AS learns, d.stands_for, d.counted
        FROM analysed o JOIN decisions d ON {its_decision("o", "o.decided_at")}
        WHERE o.experiment_id = :experiment_id
            AND d.decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
            AND d.decided_at < coalesce(CAST(:until AS timestamptz), 'infinity')
            AND o.settled_at <= coalesce(CAST(:settled_until AS timestamptz), 'infinity')
        ORDER BY d.decided_at DESC, d.id DESC LIMIT :most
    ) newest ORDER BY decided_at, id
    """
).execution_options(stream_results=True, max_row_buffer=5000)


def log_rows(
    connection: Connection,
    experiment_id: int,
    most: int,
    since: datetime | None = None,
    until: datetime | None = None,
    settled_until: datetime | None = None,
) -> Iterator[LoggedRow]:
    """The newest settled decisions of an experiment from one time and before another, oldest first.

    :param settled_until: leave out what was settled later: the same log again.
    """
    given = {"experiment_id": experiment_id, "most": most, "since": since, "until": until}
    given |= {"settled_until": settled_until}
    for row in connection.execute(_LOG, given):
        yield LoggedRow._make(row)


# Reads the newest decisions through the index of times, and then their outcomes: the work is bounded on any log.
_CHOICES = text(
    f"""
    SELECT d.action, d.propensity, o.reward FROM (
        SELECT id, experiment_id, eligible[chosen + 1] AS action, propensity FROM decisions
        WHERE experiment_id = :experiment_id AND {NOT_TRIAL} ORDER BY decided_at DESC LIMIT :most
    ) d JOIN analysed o ON {ITS_OUTCOME}
    """
)


class LoggedChoice(NamedTuple):
    """The chosen action of one settled decision."""

    action: str
    propensity: float
    reward: float


def newest_choices(connection: Connection, experiment_id: int, most: int) -> list[LoggedChoice]:
    """The settled decisions among the newest ``most`` decisions."""
    rows = connection.execute(_CHOICES, {"experiment_id": experiment_id, "most": most})
    return [LoggedChoice(row.action, row.propensity, row.reward) for row in rows]


def leave_out_held(connection: Connection) -> None:
    """Until the transaction ends, read no decision that is held out of rounds for a suspect."""
    connection.execute(text(WITHOUT_HELD_OUT))


def last_version(connection: Connection, experiment_id: int, arm: str, before: datetime) -> int:
    """The model version with which an arm decided last before a time; 0: it had not decided."""
    query = f"""
        SELECT policy_version FROM decisions
        WHERE experiment_id = :id AND arm = :arm AND decided_at < :before AND {NOT_TRIAL}
        ORDER BY decided_at DESC LIMIT 1
    """
    return int(connection.execute(text(query), {"id": experiment_id, "arm": arm, "before": before}).scalar() or 0)
