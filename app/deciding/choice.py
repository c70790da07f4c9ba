"""One decision before it is stored: who is eligible, how likely each is, what is drawn.

What needs no look at the unit is made ready first, in the thread of the request; the rest is fast and needs the unit's
state, or knows that the unit denied nothing.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from app.accounts.keys import Caller
from app.content.composition import Composer
from app.content.message_templates import NotFor, Rendered, render
from app.deciding import profile
from app.deciding.eligibility import Reasons, UnitState, keep, reasons_against, withheld
from app.deciding.requests import Asked, DecideRequest, MessageRequest
from app.deciding.runtime import Runtime
from app.deciding.seal import seal
from app.deciding.snapshot import Arm, Candidates, Experiment, compile_actions, plain_arm
from app.deciding.store.decisions import NewDecision
from app.design.context_fields import hash_key, keep_declared
from app.design.experiment_config import action_problems
from app.foundation.errors import Conflict, FieldError, Unprocessable
from app.foundation.fields import invalid
from bandits import distribution as draws
from bandits.encoding import ENCODING_VERSION, FeatureError, encode_context
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy

PROFILE = "profile"  # the context's fields that Loopwise fills
POSITION = "position"
LATER_POSITION = re.compile(r"#[0-9]+\Z")  # how the ids of a list's later positions end

Messages = dict[str, dict[str, str] | None]


class NothingLeft(Unprocessable):
    """No action is eligible for this unit now."""


class Ready(NamedTuple):
    """A request with all that needs no look at its unit."""

    asked: Asked
    experiment: Experiment
    caller: Caller
    arm: Arm
    version: int  # of the arm's model; 0: untrained, or the arm does not learn
    sha256: str | None
    predictor: Predictor | None
    candidates: Candidates
    excluded: Reasons
    context: dict[str, Any]  # as it may be used
    line: str  # the context's, encoded
    dropped: int  # context fields that were not declared


class Plan(NamedTuple):
    """A decision before it is stored."""

    row: NewDecision
    payload: Any  # of the chosen action, under the configuration that it was decided with
    experiment: str  # key
    composed: bool  # the actions are combinations of a composed message

    @property
    def action(self) -> str:
        """The id of what was chosen."""
        return self.row.eligible[self.row.chosen]


def position_id(decision_id: str, position: int) -> str:
    """The id of one position's decision; the first has the list's own. No caller's id may end like the others."""
    return decision_id if position == 1 else f"{decision_id}#{position}"


def make_ready(runtime: Runtime, caller: Caller, experiment: Experiment, asked: Asked) -> Ready:
    """Check a request and find its arm and model.

    :raises LoopwiseError: the experiment does not run, or something in the request cannot be used.
    """
    request = asked.request
    if experiment.status != "running":
        raise Conflict("not_running", f"Experiment {experiment.key!r} is {experiment.status}; start it first.")
    composed = experiment.config.composition is not None
    if request.actions is not None and (composed or isinstance(request, MessageRequest)):
        raise invalid((FieldError("/actions", "messages come from the experiment's own actions; leave this out"),))
    if experiment.config.profile and PROFILE in request.context:
        raise invalid(
            (FieldError(f"/context/{PROFILE}", "Loopwise fills this field in this experiment; leave it out"),)
        )
    _check_list(request)
    arm = experiment.arms[draws.assign(experiment.salt, request.unit_id, experiment.shares)]
    version, sha256, predictor = 0, None, None
    if isinstance(arm.policy, BanditPolicy):
        serving = runtime.snapshots.current.serving[experiment.id, arm.key]
        version, sha256, predictor = runtime.models.get(serving, arm.policy)
    candidates, excluded = _candidates(experiment, asked)
    key = hash_key(runtime.settings.secret_key, experiment.salt)
    context, dropped = keep_declared(experiment.config.context_fields, request.context, key)
    line = encode(context)  # a context that cannot be encoded is refused here, whoever decides in the end
    return Ready(
        asked, experiment, caller, arm, version, sha256, predictor, candidates, excluded, context, line, dropped
    )


def plan_all(runtime: Runtime, ready: Ready) -> list[Plan]:
    """Decide every position of a list, or the one decision, for a unit that denied nothing. See ``plan``."""
    made = [plan(runtime, ready, None)]
    for _ in range(1, ready.asked.request.slots or 1):
        try:
            made.append(plan(runtime, ready, None, [one.action for one in made]))
        except NothingLeft:  # then the list is shorter
            break
    return made


def plan(runtime: Runtime, ready: Ready, state: UnitState | None, taken: Sequence[str] = ()) -> Plan:
    """Decide, in a list its next position.

    :param state: of the unit; null: it denied nothing, and the experiment looks at nothing else of it.
    :param taken: what stands at the positions before.
    :raises NothingLeft: nothing is eligible.
    """
    request, experiment = ready.asked.request, ready.experiment
    denied = [] if state is None else withheld(experiment.config.consent, state.consent)
    if "personalise" in denied:
        arm = plain_arm(experiment.config)
        ready = ready._replace(arm=arm, version=0, sha256=None, predictor=None, context={}, line=encode({}))
    candidates, found = keep(
        ready.candidates, {name: f"shown at position {place}" for place, name in enumerate(taken, start=1)}
    )
    against = [*ready.excluded, *found]
    if state is not None:
        candidates, found = keep(candidates, reasons_against(experiment, request, candidates.ids, state, denied))
        against = [*against, *found]
    messages: Messages = {}
    if isinstance(request, MessageRequest):
        messages, unsaid = _messages(experiment, request, candidates)
        candidates, found = keep(candidates, unsaid)
        against = [*against, *found]
    if not candidates.ids:
        raise _nothing_left(against)
    context = ready.context
    if state is not None and experiment.config.profile and "personalise" not in denied:
        tags = profile.tags_of(experiment.config.actions)  # combinations have none
        context = context | {PROFILE: profile.features(experiment.config.profile, state.past, state.now, tags)}
    if request.slots is not None:
        context = context | {POSITION: str(len(taken) + 1)}
    line = ready.line if context is ready.context else encode(context)
    chances = distribution(ready.arm.policy, ready.predictor, line, candidates.lines, candidates.ids).tolist()
    decision_id = position_id(ready.asked.decision_id, len(taken) + 1)
    draw = draws.draw(experiment.salt, decision_id)
    chosen = draws.sample(chances, draw)
    name = candidates.ids[chosen]
    row = NewDecision(
        id=decision_id,
        experiment_id=experiment.id,
        config_version=experiment.config_version,
        key_id=ready.caller.key_id,
        body_hash=ready.asked.body_hash,
        unit_id=request.unit_id,
        arm=ready.arm.key,
        policy_version=ready.version,
        policy_sha256=ready.sha256,
        actions=ready.asked.actions,
        eligible=candidates.ids,
        ineligible=against or None,
        distribution=chances,
        chosen=chosen,
        propensity=chances[chosen],
        draw=draw,
        context=context,
        encoding_version=ENCODING_VERSION,
        message=messages.get(name),
        state="deferred" if request.defer_activation else "active",
        channel=None if request.actions is not None else experiment.channels.get(name),
        withheld=denied or None,
        dropped=ready.dropped or None,
        seal="",
        window_s=experiment.config.reward.window_s,
        unit_known=state is not None,
    )
    row = row._replace(seal=seal(runtime.settings.secret_key, row))
    return Plan(row, candidates.payloads[name], experiment.key, experiment.config.composition is not None)


def encode(context: Any) -> str:
    """The context's line.

    :raises Unprocessable: naming the field that cannot be encoded.
    """
    try:
        return encode_context(context)
    except FeatureError as error:
        raise invalid((FieldError(f"/context{error.path}", error.message),)) from None


def _candidates(experiment: Experiment, asked: Asked) -> tuple[Candidates, Reasons]:
    request = asked.request
    candidates = experiment.candidates
    if request.actions is not None:
        problems = action_problems(request.actions)
        if problems:
            raise invalid(tuple(problems))
        candidates = compile_actions(request.actions)
    excluded = set(request.excluded_actions)
    kept, against = keep(candidates, {name: "excluded" for name in candidates.ids if name in excluded})
    if not kept.ids:
        message = "no action is eligible: give actions in the call or the experiment, and exclude fewer"
        raise invalid((FieldError("/actions", message),))
    return kept, against


def _messages(
    experiment: Experiment, request: MessageRequest, candidates: Candidates
) -> tuple[Messages, dict[str, str]]:
    """What each candidate says to this person, and why the others say nothing to them."""
    said = _renderer(experiment, request)
    asks = {action.id: action.template.asks for action in experiment.config.actions if action.template}
    messages: Messages = {}
    reasons = {}
    for name in candidates.ids:
        channel = experiment.channels.get(name)
        if channel is None:
            messages[name] = None
        elif request.channel not in (None, channel):
            reasons[name] = f"its channel is {channel}"
        else:
            try:
                question = asks.get(name)
                messages[name] = said(name)._asdict() | ({"asks": question} if question else {})
            except NotFor as reason:
                reasons[name] = str(reason)
    return messages, reasons


def _renderer(experiment: Experiment, request: MessageRequest) -> Callable[[str], Rendered]:
    """What an action says to this person; raises `NotFor`."""
    if experiment.config.composition is not None:
        return Composer(experiment.config.composition, request.locale, request.variables).render
    templates = {action.id: action.template for action in experiment.config.actions if action.template}
    return lambda name: render(templates[name], request.locale, request.variables)


def _check_list(request: DecideRequest) -> None:
    problems = []
    if request.decision_id and LATER_POSITION.search(request.decision_id):
        message = "an id may not end with # and a number: so end the ids of a list's later positions"
        problems.append(FieldError("/decision_id", message))
    if request.slots is not None and isinstance(request, MessageRequest):
        problems.append(FieldError("/slots", "a message is one; ask /v1/decide for a list"))
    if request.slots is not None and POSITION in request.context:
        problems.append(FieldError(f"/context/{POSITION}", "Loopwise fills this field in lists; leave it out"))
    if problems:
        raise invalid(tuple(problems))


def _nothing_left(against: Reasons) -> NothingLeft:
    words = "; ".join(f"{one['id']}: {one['reason']}" for one in against[:5])
    error = invalid((FieldError("", f"no action is eligible for this unit now: {words}"),))
    return NothingLeft(error.code, error.detail, error.fields)
