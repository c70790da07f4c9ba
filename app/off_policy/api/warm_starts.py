"""The routes by which an arm begins with what another log teaches."""

from flask import Response

from app.accounts.api.auth import caller, needs
from app.design.api.experiments import KeyPath, bound_key
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.learning.api.rebuilds import blueprint
from app.off_policy.life import warm_start
from app.off_policy.life.warm_start import WarmStart, WarmStartRequest, WarmStarts

__all__ = ["blueprint"]  # these routes join those of app.design.api and app.learning.api


@blueprint.post("/<key>/policy/warm-start", responses={200: WarmStart, 202: WarmStart})
@needs("manage")
def begin_warm(path: KeyPath, body: WarmStartRequest) -> Response:
    """Let an arm that has learned nothing begin with another log. 200: a dry run; 202: the worker learns it soon."""
    key = bound_key(path.key)
    bound_key(body.source.experiment)
    asked = warm_start.ask(process().engine, key, body, caller().key_id)
    return as_json(asked.as_json(), 200 if body.dry_run else 202)


@blueprint.get("/<key>/policy/warm-start", responses={200: WarmStarts})
@needs("read")
def warm_starts(path: KeyPath) -> Response:
    """What the arms of an experiment began with, and what agreed."""
    found = warm_start.of_experiment(process().engine, bound_key(path.key))
    return as_json(WarmStarts(warm_starts=found).as_json())
