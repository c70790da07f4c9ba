"""Carries out what a second person approves, in the same transaction as the approval."""

from sqlalchemy import Connection, Engine

from app.design import experiments
from app.design.life import approvals
from app.design.store import approvals as store
from app.design.store.approvals import StoredApproval
from app.foundation.fields import read
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.promotion import ramping, schedule, shipping
from app.promotion.ramping import RampRequest
from app.promotion.schedule import ScheduleRequest
from app.promotion.shipping import Ending, ShipRequest
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment


def approve(engine: Engine, settings: Settings, approval_id: int, actor: str) -> StoredApproval:
    """Do what one person asked for and this second one approves; the history names both.

    :raises NotFound: no such request waits.
    :raises Conflict: the same person asked for it, the experiment changed since, or the step is not possible now.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        request = approvals.known(connection, approval_id)
        before = stored_experiment(connection, request.experiment, lock=True)
        approvals.by_second(request, before, actor)
        store.decide(connection, approval_id, actor, True)
        platform.record_change(
            connection,
            actor=actor,
            kind=f"approved_to_{request.action}",
            experiment_id=before.id,
            after=request.document,
        )
        _carry_out(connection, settings, request, before, revision)
        return request


def _carry_out(
    connection: Connection, settings: Settings, request: StoredApproval, before: StoredExperiment, revision: int
) -> None:
    key, by, document = before.key, request.asked_by, request.document
    match request.action:
        case "start":
            reason = document.get("reason")
            experiments.move_in(connection, key, "start", by, str(reason) if reason else None)
        case "change":
            experiments.change_in(connection, settings, key, document, by, expected_version=request.config_version)
        case "ship":
            shipping.ship_in(connection, before, read(ShipRequest, document), by, revision)
        case "ramp":
            ramping.begin_in(connection, before, read(RampRequest, document), by, revision)
        case "advance":
            ramping.advance_in(connection, before, str(document.get("reason")), by, revision)
        case "conclude":
            shipping.conclude_in(connection, before, read(Ending, document), by, revision)
        case _:
            schedule.plan_in(connection, before, read(ScheduleRequest, document), by)
