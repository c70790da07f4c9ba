"""The route that asks for a model to be learned again."""

from flask import Response
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.design.api.experiments import KeyPath, blueprint, bound_key
from app.foundation.api import answers
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.learning import refit

__all__ = ["blueprint"]  # this route joins those of app.design.api


class Rebuild(BaseModel):
    arm: str = Field(min_length=1, max_length=64)


@blueprint.post("/<key>/policy/rebuild", responses={202: answers.RebuildAnswer})
@needs("manage")
def rebuild(path: KeyPath, body: Rebuild) -> Response:
    """Learn an arm's model again, from nothing, over its whole log. The worker does it soon."""
    key = bound_key(path.key)
    refit.ask(process().engine, key, body.arm, caller().key_id)
    return as_json({"experiment": key, "arm": body.arm, "status": "waiting"}, 202)
