"""The rule of two persons: with LOOPWISE_APPROVALS, one person asks to start, change, ship or end with the
control, and a second one approves.

What makes an experiment safer needs nobody else: pausing, rolling back, and everything that the platform does by itself.
``app.promotion.approving`` carries out what is approved.
"""

from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, Engine

from app.design import experiments
from app.design.store import approvals as store
from app.design.store.approvals import StoredApproval
from app.foundation.errors import Conflict, NotFound
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.words import as_sentence
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment

Action = Literal["start", "change", "ship", "ramp", "advance", "conclude", "schedule"]


def refuse_alone(settings: Settings) -> None:
    """Refuse a step that needs two persons, where nobody can be asked: the API and the command line.

    :raises Conflict: approvals are switched on.
    """
    if settings.approvals:
        raise Conflict(
            "approval_needed",
            "Approvals are on: ask for this on the experiment's page, where a second person approves it.",
        )


def waiting(engine: Engine, key: str | None = None) -> list[StoredApproval]:
    """What waits for a second person: for one experiment, or for all."""
    with transaction(engine) as connection:
        return store.waiting(connection, key)


def ask(engine: Engine, key: str, action: Action, document: JsonObject, actor: str) -> int:
    """Ask a second person for a step; return the request's id.

    :raises NotFound: no such experiment.
    :raises Conflict: the same step of this experiment waits already.
    """
    with transaction(engine) as connection:
        platform.next_revision(connection)
        return ask_in(connection, stored_experiment(connection, key, lock=True), action, document, actor)


def ask_in(
    connection: Connection, experiment: StoredExperiment, action: Action, document: JsonObject, actor: str
) -> int:
    """Like ``ask``, within the transaction of a larger use case.

    :param experiment: locked.
    """
    if any(request.action == action for request in store.waiting(connection, experiment.key)):
        raise Conflict("approval_waits", "The same step waits for an approval already. Withdraw that request first.")
    asked = StoredApproval(0, experiment.key, action, document, experiment.config_version, actor, datetime.now(UTC))
    platform.record_change(
        connection, actor=actor, kind=f"asked_to_{action}", experiment_id=experiment.id, after=document
    )
    return store.add(connection, experiment.id, asked)


def check_change(before: StoredExperiment, document: JsonObject) -> None:
    """Check a change before anybody is asked to approve it.

    :raises Unprocessable: it names every wrong field.
    :raises Conflict: the change is not possible.
    """
    if before.status == "concluded":
        raise experiments.concluded()
    problems = experiments.refusals(before, experiments.changed(before, document))
    if problems:
        raise Conflict("already_ran", as_sentence(problems[0].message), tuple(problems))


def decline(engine: Engine, approval_id: int, actor: str) -> StoredApproval:
    """Close a request without doing anything: a second person declines it, or the first one withdraws it.

    :raises NotFound: no such request waits.
    """
    with transaction(engine) as connection:
        platform.next_revision(connection)
        request = known(connection, approval_id)
        store.decide(connection, approval_id, actor, False)
        experiment = stored_experiment(connection, request.experiment)
        platform.record_change(
            connection, actor=actor, kind=f"declined_to_{request.action}", experiment_id=experiment.id
        )
        return request


def known(connection: Connection, approval_id: int) -> StoredApproval:
    """An open request, locked.

    :raises NotFound: no such request waits.
    """
    request = store.find(connection, approval_id)
    if request is None:
        raise NotFound("no_approval", "This request is decided already, or was withdrawn.")
    return request


def by_second(request: StoredApproval, before: StoredExperiment, actor: str) -> None:
    """Check that a second person approves what was asked for.

    :raises Conflict: it is the same person, or the experiment changed since.
    """
    if request.asked_by == actor:
        raise Conflict("approval_by_same", "You asked for this, so somebody else has to approve it.")
    if before.config_version != request.config_version:
        raise Conflict(
            "approval_stale", "The experiment has changed since this was asked for. Decline it, and ask again."
        )
