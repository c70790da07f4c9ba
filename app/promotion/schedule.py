"""Starts and concludes experiments at the times that a person set."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.experiments import concluded, move, move_in
from app.foundation.errors import Conflict, FieldError
from app.foundation.fields import Model, Time, invalid
from app.foundation.isolation import each
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.promotion import shipping
from app.promotion.shipping import WORKER, ShipRequest
from app.registry.lookup import stored_experiment
from app.registry.store import experiments as store
from app.registry.store.experiments import Schedule, StoredExperiment

KIND = "schedule"


class ScheduleRequest(Model):
    """When an experiment begins and ends by itself; a time that is left out, or null, is a person's to choose."""

    starts_at: Time | None = Field(default=None, description="Of a draft: when it starts.")
    ends_at: Time | None = Field(default=None, description="When it is concluded.")
    callers: Literal["control", "error"] = Field(
        default="control", description="What callers get after ends_at: what the control decides, or an error."
    )


def plan(engine: Engine, key: str, request: ScheduleRequest, actor: str) -> StoredExperiment:
    """Replace when an experiment starts and ends.

    :raises NotFound: no such experiment.
    :raises Conflict: it is concluded, or it is to start and has started already.
    :raises Unprocessable: a time does not lie ahead, or the end comes before the start.
    """
    with transaction(engine) as connection:
        return plan_in(connection, stored_experiment(connection, key, lock=True), request, actor)


def plan_in(connection: Connection, before: StoredExperiment, request: ScheduleRequest, actor: str) -> StoredExperiment:
    """Like ``plan``, within the transaction of a larger use case.

    :param before: the experiment, locked.
    """
    _check_times(request)
    if before.status == "concluded":
        raise concluded()
    if request.starts_at is not None and before.status != "draft":
        raise Conflict("wrong_status", "It has started already. Only the start of a draft can be scheduled.")
    ends_with = request.callers if request.ends_at else None
    times = (request.starts_at, request.ends_at)
    store.set_schedule(connection, before.id, Schedule(*times, ends_with, actor if any(times) else None))
    after = {"starts_at": _text(request.starts_at), "ends_at": _text(request.ends_at), "callers": ends_with}
    was = {"starts_at": _text(before.starts_at), "ends_at": _text(before.ends_at), "callers": before.ends_with}
    platform.record_change(
        connection, actor=actor, kind="experiment_scheduled", experiment_id=before.id, before=was, after=after
    )
    return stored_experiment(connection, before.key)


def _check_times(request: ScheduleRequest) -> None:
    now = datetime.now(UTC)
    problems = [
        FieldError(f"/{name}", "time_not_ahead")
        for name, time in (("starts_at", request.starts_at), ("ends_at", request.ends_at))
        if time is not None and time <= now
    ]
    if not problems and request.starts_at and request.ends_at and request.ends_at <= request.starts_at:
        problems = [FieldError("/ends_at", "ends_before_it_begins")]
    if problems:
        raise invalid(tuple(problems))


def run_due(engine: Engine) -> list[str]:
    """Start and conclude the experiments whose time has come; returns their keys."""
    with transaction(engine) as connection:
        starting, ending = store.to_start(connection), store.to_end(connection)
    started = each(engine, KIND, starting, lambda key: _start(engine, key))
    return started + each(engine, KIND, ending, lambda key: _end(engine, key))


def _start(engine: Engine, key: str) -> None:
    with transaction(engine) as connection:
        by = stored_experiment(connection, key).scheduled_by
    move(engine, key, "start", WORKER, f"{by} scheduled the start")


def _end(engine: Engine, key: str) -> None:
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        before = stored_experiment(connection, key, lock=True)
        reason, config = f"{before.scheduled_by} scheduled the end", ExperimentConfig.model_validate(before.config)
        if before.ends_with == "error":
            move_in(connection, key, "conclude", WORKER, reason)
        elif config.shipped is None and config.ramp is None:  # else a person decided since then what callers get
            shipping.ship_in(connection, before, ShipRequest(arm=config.control.key, reason=reason), WORKER, revision)
        store.set_schedule(connection, before.id, Schedule(None, None, None, None))


def _text(time: datetime | None) -> str | None:
    return None if time is None else iso(time)
