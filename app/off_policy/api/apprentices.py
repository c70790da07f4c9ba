"""The routes of apprentices: how they do, and the switch."""

from flask import Response

from app.accounts.api.auth import caller, needs
from app.design.api.answers import ExperimentAnswer
from app.design.api.experiments import KeyPath, bound_key
from app.design.experiments import as_json as experiment_json
from app.design.life import approvals
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.off_policy.api.warm_starts import blueprint
from app.off_policy.life import apprentice
from app.off_policy.life.apprentice_documents import Apprentices, SwitchRequest

__all__ = [
    "blueprint"
]  # these routes join those of app.design.api, app.learning.api and app.off_policy.api.warm_starts


@blueprint.get("/<key>/apprentice", responses={200: Apprentices})
@needs("read")
def apprentices(path: KeyPath) -> Response:
    """How often each apprentice would have shown what was shown, and what it expects to earn."""
    return as_json(apprentice.get(process().engine, bound_key(path.key)).as_json())


@blueprint.post("/<key>/apprentice", responses={200: ExperimentAnswer})
@needs("manage")
def switch_apprentice(path: KeyPath, body: SwitchRequest) -> Response:
    """Let what an apprentice learned decide, or show the first action again. It holds from the next decision on."""
    key = bound_key(path.key)
    if not body.apprentice:
        approvals.refuse_alone(process().settings)
    changed = apprentice.switch(process().engine, key, body, caller().key_id)
    process().refresh()
    return as_json(experiment_json(changed))
