"""The routes of the guardian: what is watched, incidents, falling back and back again."""

from flask import Response
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.design.api.answers import ExperimentAnswer
from app.design.api.experiments import KeyPath, bound_key
from app.design.experiment_config import FallbackSpec
from app.design.experiments import as_json as experiment_json
from app.foundation.api.respond import as_json
from app.foundation.fields import Model
from app.foundation.serving import process
from app.guardian import dry_run, guardrails, incidents, overview, quarantine
from app.guardian.documents import Guarded, Incident
from app.guardian.dry_run import DryRun
from app.guardian.quarantine_documents import Quarantine, QuarantineRequest
from app.off_policy.api.apprentices import blueprint

__all__ = ["blueprint"]  # these routes join those of app.design.api, app.learning.api and app.off_policy.api


class IncidentPath(BaseModel):
    """Names an incident."""

    key: str = Field(min_length=1, max_length=64)
    incident_id: int = Field(ge=1, le=2**63 - 1)


class Trial(Model):
    """A rule to play through the past."""

    arm: str = Field(min_length=1, max_length=64)
    fallback: FallbackSpec | None = Field(default=None, description="Null: the arm's own rule.")
    days: float = Field(default=30, gt=0, le=365, description="Of the past, at most.")


class Turn(Model):
    """Which policy of an arm decides from now on."""

    arm: str = Field(min_length=1, max_length=64)
    fallback: bool = Field(description="True: its fallback; false: what it learned.")
    reason: str = Field(min_length=1, max_length=1000, description="It is kept in the history.")


@blueprint.get("/<key>/guardian", responses={200: Guarded})
@needs("read")
def guardian(path: KeyPath) -> Response:
    """What is watched in an experiment, the evidence as it stands, and its incidents, newest first."""
    return as_json(overview.guarded(process().engine, bound_key(path.key)).as_json())


@blueprint.post("/<key>/guardian", responses={200: ExperimentAnswer})
@needs("manage")
def turn(path: KeyPath, body: Turn) -> Response:
    """Let an arm's fallback decide, or what it learned again. It holds from the next decision on."""
    change = incidents.fall_back if body.fallback else incidents.restore
    changed = change(process().engine, bound_key(path.key), body.arm, body.reason, caller().key_id)
    process().refresh()
    return as_json(experiment_json(changed))


@blueprint.post("/<key>/guardian/dry-run", responses={200: DryRun})
@needs("read")
def try_rule(path: KeyPath, body: Trial) -> Response:
    """Compute how often a rule would have fallen back over the newest part of the log. Nothing is changed."""
    return as_json(
        dry_run.try_rule(process().engine, bound_key(path.key), body.arm, body.fallback, body.days).as_json()
    )


@blueprint.post("/<key>/incidents/<int:incident_id>/close", responses={200: Incident})
@needs("manage")
def close(path: IncidentPath) -> Response:
    """End an incident that somebody has seen to."""
    key = bound_key(path.key)
    return as_json(incidents.close(process().engine, key, path.incident_id, caller().key_id).as_json())


@blueprint.post("/<key>/incidents/<int:incident_id>/undo", responses={200: Incident})
@needs("manage")
def undo(path: IncidentPath) -> Response:
    """Take back what was done about a crossed guardrail: start again, give the arm its share, or let it decide."""
    key = bound_key(path.key)
    undone = guardrails.undo(process().engine, key, path.incident_id, caller().key_id)
    process().refresh()
    return as_json(undone.as_json())


@blueprint.get("/<key>/quarantine", responses={200: Quarantine})
@needs("read")
def read_quarantine(path: KeyPath) -> Response:
    """What is held out of rounds, for whom and why."""
    return as_json(quarantine.listed(process().engine, bound_key(path.key)).as_json())


@blueprint.post("/<key>/quarantine", responses={200: Quarantine})
@needs("manage")
def change_quarantine(path: KeyPath, body: QuarantineRequest) -> Response:
    """Hold decisions out of rounds, release them, or exclude them from what was learned, too."""
    changed = quarantine.change(process().engine, bound_key(path.key), body, caller().key_id)
    return as_json(changed.as_json())
