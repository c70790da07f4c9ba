"""The routes that turn a verdict into what callers get: ship, ramp, roll back, conclude."""

from flask import Response, request
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.design.api.answers import ExperimentAnswer
from app.design.api.experiments import KeyPath, bound_key
from app.design.experiments import as_json as experiment_json
from app.design.life import approvals
from app.foundation.api.respond import as_json
from app.foundation.errors import NotFound
from app.foundation.fields import Model, read
from app.foundation.serving import process
from app.promotion import challengers, ramping, schedule, shipping
from app.promotion.challengers import Challengers
from app.promotion.ramping import Gate, RampRequest
from app.promotion.schedule import ScheduleRequest
from app.promotion.shipping import Ending, ShipRequest
from app.registry.store.experiments import StoredExperiment
from app.reporting.api.results import blueprint

__all__ = ["blueprint"]  # these routes join those of app.reporting.api


class Reason(Model):
    """Why a step is taken."""

    reason: str = Field(min_length=1, max_length=10_000, description="It is kept in the history.")


class ChallengerPath(BaseModel):
    key: str
    name: str


@blueprint.post("/experiments/<key>/ship", responses={200: ExperimentAnswer})
@needs("manage")
def ship(path: KeyPath, body: ShipRequest) -> Response:
    """Let one arm decide for everybody, for good. The results of now are kept, and `roll-back` leads back."""
    key = bound_key(path.key)
    approvals.refuse_alone(process().settings)
    return _changed(shipping.ship(process().engine, key, body, caller().key_id))


@blueprint.post("/experiments/<key>/ramp", responses={200: ExperimentAnswer})
@needs("manage")
def ramp(path: KeyPath, body: RampRequest) -> Response:
    """Give an arm a larger share step by step, each behind a gate."""
    key = bound_key(path.key)
    approvals.refuse_alone(process().settings)
    return _changed(ramping.begin(process().engine, key, body, caller().key_id))


@blueprint.get("/experiments/<key>/ramp", responses={200: Gate})
@needs("read")
def gate(path: KeyPath) -> Response:
    """What the newest results say about the next step of the ramp. 404: no arm is on its way."""
    seen = ramping.gate(process().engine, bound_key(path.key))
    if seen is None:
        raise NotFound("no_ramp", f"No arm of experiment {path.key!r} is on its way.")
    return as_json(seen)


@blueprint.post("/experiments/<key>/ramp/advance", responses={200: ExperimentAnswer})
@needs("manage")
def advance(path: KeyPath, body: Reason) -> Response:
    """Take the next step of the ramp, whatever its gate says. After the last one the arm is shipped."""
    key = bound_key(path.key)
    approvals.refuse_alone(process().settings)
    return _changed(ramping.advance(process().engine, key, body.reason, caller().key_id))


@blueprint.post("/experiments/<key>/roll-back", responses={200: ExperimentAnswer})
@needs("manage")
def roll_back(path: KeyPath, body: Reason) -> Response:
    """Give the arms back the shares that they had before an arm was shipped, or began to be."""
    return _changed(shipping.roll_back(process().engine, bound_key(path.key), body.reason, caller().key_id))


@blueprint.get("/experiments/<key>/challengers", responses={200: Challengers})
@needs("read")
def list_challengers(path: KeyPath) -> Response:
    """Every candidate and staged arm, with the numbers of each step: valued, in shadow, with a share, in production."""
    return as_json(challengers.get(process().engine, bound_key(path.key)))


@blueprint.post("/experiments/<key>/challengers/<name>/back", responses={200: Challengers})
@needs("manage")
def challenger_back(path: ChallengerPath, body: Reason) -> Response:
    """Take a challenger one step back, as `back` of its entry says."""
    key, at = bound_key(path.key), process()
    challengers.back(at.engine, key, path.name, caller().key_id, body.reason)
    at.refresh()
    return as_json(challengers.get(at.engine, key))


@blueprint.post("/experiments/<key>/conclude", responses={200: ExperimentAnswer})
@needs("manage")
def conclude(path: KeyPath) -> Response:
    """End the experiment. The body is optional, and says why, and what callers get from now on."""
    ending = read(Ending, request.get_json()) if request.get_data() else Ending()
    key = bound_key(path.key)
    if ending.control_decides:
        approvals.refuse_alone(process().settings)
    return _changed(shipping.conclude(process().engine, key, ending, caller().key_id))


@blueprint.put("/experiments/<key>/schedule", responses={200: ExperimentAnswer})
@needs("manage")
def schedule_experiment(path: KeyPath, body: ScheduleRequest) -> Response:
    """Replace when the experiment starts and ends by itself. A time that is left out is a person's to choose."""
    key = bound_key(path.key)
    if body.starts_at is not None:
        approvals.refuse_alone(process().settings)
    return _changed(schedule.plan(process().engine, key, body, caller().key_id))


def _changed(experiment: StoredExperiment) -> Response:
    process().refresh()
    return as_json(experiment_json(experiment))
