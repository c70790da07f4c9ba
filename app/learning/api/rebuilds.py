"""The routes that ask for a model to be learned again, from nothing or by another learner of the race."""

from flask import Response
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.deciding.api.context import blueprint
from app.design.api.experiments import KeyPath, bound_key
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.learning import formula_preview, refit
from app.learning.api import answers
from app.learning.formula_preview import Preview, PreviewRequest

__all__ = ["blueprint"]  # these routes join those of app.design.api and app.deciding.api


class Rebuild(BaseModel):
    arm: str = Field(min_length=1, max_length=64)


class Pin(BaseModel):
    arm: str = Field(min_length=1, max_length=64)
    candidate: str | None = Field(max_length=64, description="Null lets the policy, or the race, decide again.")


@blueprint.post("/<key>/policy/rebuild", responses={202: answers.RebuildAnswer})
@needs("manage")
def rebuild(path: KeyPath, body: Rebuild) -> Response:
    """Learn an arm's model again, from nothing, over its whole log. The worker does it soon."""
    key = bound_key(path.key)
    refit.ask(process().engine, key, body.arm, caller().key_id)
    return as_json({"experiment": key, "arm": body.arm, "status": "waiting"}, 202)


@blueprint.post("/<key>/policy/pin", responses={202: answers.PinAnswer})
@needs("manage")
def pin(path: KeyPath, body: Pin) -> Response:
    """Pin which learner of an arm's race decides. It takes effect when the worker has learned the model again, soon."""
    key = bound_key(path.key)
    refit.pin(process().engine, key, body.arm, body.candidate or "", caller().key_id)
    return as_json({"experiment": key, "arm": body.arm, "candidate": body.candidate or None, "status": "waiting"}, 202)


@blueprint.post("/<key>/reward-formula/preview", responses={200: Preview})
@needs("read")
def preview_formula(path: KeyPath, body: PreviewRequest) -> Response:
    """What a formula of the reward would have given over the newest 2,000 settled decisions. Nothing is changed."""
    return as_json(formula_preview.preview(process().engine, bound_key(path.key), body.text))
