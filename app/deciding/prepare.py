"""Prepare a request for the log's writer: check and compute everything that does not depend on the state of its unit."""

import re
from typing import NamedTuple

from pydantic import JsonValue

from app.accounts.keys import Caller
from app.content.reasons import Reason
from app.deciding.eligibility import Eligible
from app.deciding.model_cache import Loaded
from app.deciding.requests import DecideRequest, IdentifiedRequest, MessageRequest, Slot, SlottedRequest
from app.deciding.runtime import Runtime
from app.deciding.snapshot import Arm, Experiment, compile_actions
from app.deciding.windows.targets import ExperimentCounts
from app.design.context.kept import hash_key, keep_declared
from app.design.definition_rules import action_problems
from app.design.people_config import ContextField
from app.foundation.errors import Conflict, FieldError, Unprocessable
from app.foundation.fields import JsonObject, invalid
from app.foundation.running.steps import Steps
from bandits import distribution as draws
from bandits.encoding import FeatureError, encode_context
from bandits.filling import fillable
from bandits.policy import BanditPolicy

PROFILE = "profile"  # Loopwise fills these three fields of the context
POSITION = "position"
SLOT = "slot"
LATER_POSITION = re.compile(r"#[0-9]+\Z")  # how the ids of a list's later positions end
NO_MODEL = Loaded(0, None, None)  # for arms that do not learn


class UsableContext(NamedTuple):
    """A context as it may be used and stored."""

    fields: dict[str, JsonValue]
    line: str  # encoded
    dropped: int = 0  # fields that were not declared


class PreparedDecision(NamedTuple):
    """A request with everything that does not depend on the state of its unit."""

    identified: IdentifiedRequest
    experiment: Experiment
    key_id: str  # of the caller's API key
    arm: Arm
    model: Loaded
    eligible: Eligible  # among the actions of the call or the experiment, without those that the call excludes
    context: UsableContext
    places: tuple[JsonObject, ...] = ()  # what the context says of each slot of a list whose slots differ
    holdout_version: int | None = None  # of the global holdout that is in force; None: there is none
    held_back: bool = False  # its unit is in the holdout
    trial: bool = False  # the call, or its key, is a test
    counts: ExperimentCounts | None = None  # of targets on exposure over a window


def prepare(
    runtime: Runtime, caller: Caller, experiment: Experiment, identified: IdentifiedRequest
) -> Steps[PreparedDecision]:
    """Check a request and find its arm and model, in steps.

    :raises LoopwiseError: the experiment does not run, or the request has a value that cannot be used.
    """
    request = identified.request
    if experiment.status != "running":
        raise not_running(experiment)
    _check_fields(experiment, request)
    holdout = runtime.snapshots.current.holdout
    held_back = holdout is not None and draws.held_back(holdout.salt, request.unit_id, holdout.share)
    arm = experiment.plain if held_back else _assigned(experiment, request.unit_id)
    model = NO_MODEL
    if isinstance(arm.policy, BanditPolicy):
        model = yield from runtime.models.fetch(runtime.snapshots.current.serving[experiment.id, arm.key], arm.policy)
    eligible = _not_excluded(experiment, request)
    declared = experiment.config.context_fields
    key = b"" if declared is None else hash_key(runtime.settings.secret_key, experiment.salt)
    fields, dropped = keep_declared(declared, request.context, key)
    context = UsableContext(fields, encode(fields), dropped)  # refuses a wrong context whichever arm decides
    places: tuple[JsonObject, ...] = ()
    if isinstance(request, SlottedRequest):
        _check_fillable(request, eligible)
        places = tuple(_place(declared, slot, key) for slot in request.places)
    version = None if holdout is None else holdout.version
    return PreparedDecision(
        *(identified, experiment, caller.key_id, arm, model, eligible, context, places, version, held_back),
        trial=caller.test or request.test,
        counts=runtime.snapshots.current.counts.get(experiment.id),
    )


def _assigned(experiment: Experiment, unit_id: str) -> Arm:
    return experiment.arms[draws.assign(experiment.salt, unit_id, experiment.shares)]


def _place(declared: list[ContextField] | None, slot: Slot, key: bytes) -> JsonObject:
    """What the context says of a slot: its id, and its features if the field ``slot`` may be used."""
    kept, _ = keep_declared(declared, {SLOT: slot.features} if slot.features else {}, key)
    place: JsonObject = {"id": slot.id} | ({"features": kept[SLOT]} if SLOT in kept else {})
    encode({SLOT: place})
    return place


def _check_fillable(request: SlottedRequest, eligible: Eligible) -> None:
    """Refuse slots that cannot all have an action of their own, whatever is drawn."""
    if not fillable(eligible.candidates.ids, [slot.excluded_actions for slot in request.places]):
        raise _field_error("/slots", "slots_not_fillable")


def not_running(experiment: Experiment) -> Conflict:
    """The error where an experiment decides nothing, with what can be done about it."""
    advice = "start it first."
    if experiment.status == "concluded":
        advice = "it decides nothing any more. Show a default of your own, or ask another experiment."
    return Conflict("not_running", f"Experiment {experiment.key!r} is {experiment.status}; {advice}")


def position_id(decision_id: str, position: int) -> str:
    """Return the id of a position's decision. Callers may not use the ending of later positions in ids of their own."""
    return decision_id if position == 1 else f"{decision_id}#{position}"


def encode(context: dict[str, JsonValue]) -> str:
    """Encode the context as one line.

    :raises Unprocessable: a field cannot be encoded; the error names it.
    """
    try:
        return encode_context(context)
    except FeatureError as error:
        raise invalid((FieldError(f"/context{error.path}", error.code, error.params),)) from None


def _check_fields(experiment: Experiment, request: DecideRequest) -> None:
    """Refuse the fields that this experiment, a list or a message fills or forbids."""
    is_message = isinstance(request, MessageRequest)
    if request.actions is not None and (is_message or experiment.config.composition is not None):
        raise _field_error("/actions", "actions_not_taken")
    if experiment.config.profile and PROFILE in request.context:
        raise _field_error(f"/context/{PROFILE}", "profile_filled")
    problems = []
    if request.decision_id and LATER_POSITION.search(request.decision_id):
        problems.append(FieldError("/decision_id", "list_id_ending"))
    if request.slots is not None and is_message:
        problems.append(FieldError("/slots", "no_list_of_messages"))
    if request.slots is not None and POSITION in request.context:
        problems.append(FieldError(f"/context/{POSITION}", "position_filled"))
    if isinstance(request, SlottedRequest) and SLOT in request.context:
        problems.append(FieldError(f"/context/{SLOT}", "position_filled"))
    if problems:
        raise invalid(tuple(problems))


def _not_excluded(experiment: Experiment, request: DecideRequest) -> Eligible:
    candidates = experiment.candidates
    if request.actions is not None:
        problems = action_problems(request.actions)
        if problems:
            raise invalid(tuple(problems))
        candidates = compile_actions(request.actions)
    eligible = Eligible(candidates, [])
    if request.excluded_actions:
        eligible = eligible.without(dict.fromkeys(request.excluded_actions, Reason("excluded", {})))
    if not eligible.candidates.ids:
        raise _field_error("/actions", "no_action")
    return eligible


def _field_error(path: str, code: str) -> Unprocessable:
    return invalid((FieldError(path, code),))
