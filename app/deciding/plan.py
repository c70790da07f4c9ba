"""Plan one decision: the eligible actions, the context, the distribution, the draw, the row to store.

This runs in the request's thread when the unit denied nothing, and otherwise in the log's writer, which knows the unit's state.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from app.content.composition import Composer
from app.content.message_templates import NotFor, Rendered, render
from app.content.reasons import Reason
from app.deciding import profile
from app.deciding.answer import ineligible_answer
from app.deciding.eligibility import Eligible, UnitState, reasons_against, withheld
from app.deciding.prepare import NO_MODEL, POSITION, PROFILE, SLOT, PreparedDecision, UsableContext, encode, position_id
from app.deciding.requests import MessageRequest, SlottedRequest
from app.deciding.rules import repeats
from app.deciding.runtime import Runtime
from app.deciding.seal import seal
from app.deciding.snapshot import Candidates, Experiment
from app.deciding.store.counts import Counted
from app.deciding.store.decisions import NewDecision
from app.deciding.windows import targets
from app.foundation import metrics
from app.foundation.errors import FieldError, Unprocessable
from app.foundation.fields import invalid
from app.foundation.store.fragments import TRIAL
from bandits import distribution as draws
from bandits.encoding import ENCODING_VERSION
from bandits.filling import kept_for_later
from bandits.model import distribution

_SEAL = NewDecision._fields.index("seal")
Messages = dict[str, dict[str, str] | None]  # by action, the rendered message; None: it says nothing


class NothingEligible(Unprocessable):
    """No action is eligible for this unit now."""


class PlannedDecision(NamedTuple):
    """A decision before it is stored."""

    row: NewDecision
    payload: JsonValue  # of the chosen action, under the configuration that it was decided with
    experiment: str  # key
    composed: bool  # the actions are combinations of a composed message

    @property
    def action(self) -> str:
        """The id of the chosen action."""
        return self.row.eligible[self.row.chosen]


class _Drawn(NamedTuple):
    decision_id: str
    distribution: list[float]  # over the eligible actions
    draw: float
    chosen: int
    counted: Counted | None  # of the arms' windows


class _Parts(NamedTuple):
    """What the row of a decision is made of."""

    eligible: Eligible
    messages: Messages
    context: UsableContext
    drawn: _Drawn
    denied: list[str]  # purposes without consent
    unit_known: bool


def plan_all(runtime: Runtime, prepared: PreparedDecision) -> list[PlannedDecision]:
    """Plan every position of a list, or the one decision, for a unit that denied nothing. See ``plan``."""
    planned = [plan(runtime, prepared, None)]
    for _ in range(1, prepared.identified.positions):
        try:
            planned.append(plan(runtime, prepared, None, [position.action for position in planned]))
        except NothingEligible:  # then the list is shorter
            break
    return planned


def plan(
    runtime: Runtime, prepared: PreparedDecision, state: UnitState | None, above: Sequence[str] = ()
) -> PlannedDecision:
    """Plan a decision, in a list its next position.

    :param state: the unit's state; None: the unit denied nothing, and the experiment does not depend on its state.
    :param above: the actions at the list's earlier positions.
    :raises NothingEligible: no action may be chosen for this unit now.
    """
    experiment = prepared.experiment
    denied = [] if state is None else withheld(experiment.config.consent, state.consent)
    if "personalise" in denied:
        context = UsableContext({}, encode({}), prepared.context.dropped)
        prepared = prepared._replace(arm=experiment.plain, model=NO_MODEL, context=context)
    eligible, messages = _eligible(prepared, state, denied, above)
    context = _context(prepared, state, denied, position=len(above) + 1)
    drawn = _draw(prepared, eligible.candidates, context.line, above)
    row = _row(prepared, _Parts(eligible, messages, context, drawn, denied, state is not None))
    row = NewDecision._make((*row[:_SEAL], seal(runtime.settings.secret_key, row), *row[_SEAL + 1 :]))
    payload = eligible.candidates.payloads[row.eligible[row.chosen]]
    return PlannedDecision(row, payload, experiment.key, experiment.config.composition is not None)


def _eligible(
    prepared: PreparedDecision, state: UnitState | None, denied: list[str], above: Sequence[str]
) -> tuple[Eligible, Messages]:
    """Return the actions that may be chosen now, and their rendered messages if the call requests a message."""
    request, experiment = prepared.identified.request, prepared.experiment
    eligible = prepared.eligible
    if above:
        eligible = eligible.without(
            {action: Reason("earlier_position", {"position": number}) for number, action in enumerate(above, start=1)}
        )
    if state is not None:
        eligible = eligible.without(reasons_against(experiment, request, eligible.candidates.ids, state, denied))
        if experiment.config.repeats is not None and eligible.candidates.ids:
            past = [*state.made, *state.past]
            eligible = eligible.without(
                repeats.reasons(experiment.config.repeats, eligible.candidates, past, state.now)
            )
    if isinstance(request, SlottedRequest):
        eligible = _for_slot(request, eligible, len(above))
    messages: Messages = {}
    if isinstance(request, MessageRequest):
        messages, unusable = _messages(experiment, request, eligible.candidates)
        eligible = eligible.without(unusable)
    if not eligible.candidates.ids:
        raise _nothing_eligible(eligible)
    return eligible, messages


def _for_slot(request: SlottedRequest, eligible: Eligible, index: int) -> Eligible:
    """Leave out the actions that a slot excludes, and those that a later slot needs."""
    own, *later = (slot.excluded_actions for slot in request.places[index:])
    ids = eligible.candidates.ids
    reasons = {action: Reason("excluded", {}) for action in own}
    for action, at in kept_for_later(ids, own, later).items():
        reasons.setdefault(action, Reason("later_slot", {"slot": request.places[index + 1 + at].id}))
    return _in_order(request, eligible.without(reasons), index)


def _in_order(request: SlottedRequest, eligible: Eligible, index: int) -> Eligible:
    """Offer what the caller would show in a slot first, and what it would show in later slots last. The log has this order."""
    baseline, *later = (slot.baseline for slot in request.places[index:])
    if baseline is None:
        return eligible
    ids, lines, payloads = eligible.candidates
    pairs = sorted(zip(ids, lines, strict=True), key=lambda pair: (pair[0] != baseline, pair[0] in later))
    ordered = Candidates([action for action, _ in pairs], [line for _, line in pairs], payloads)
    return eligible._replace(candidates=ordered)


def _context(prepared: PreparedDecision, state: UnitState | None, denied: list[str], *, position: int) -> UsableContext:
    """Add Loopwise's own fields to the context: the unit's profile and the position in a list."""
    config, added = prepared.experiment.config, dict[str, JsonValue]()
    if state is not None and config.profile and "personalise" not in denied:
        tags = profile.tags_of(config.actions)  # combinations of a composed message have no tags
        added[PROFILE] = profile.features(config.profile, state.past[: config.profile.lookback], state.now, tags)
    if prepared.identified.request.slots is not None:
        added[POSITION] = str(position)
    if prepared.places:
        place = prepared.places[position - 1]
        added[SLOT] = {"id": place["id"]} if "personalise" in denied else place
    if not added:
        return prepared.context
    fields = prepared.context.fields | added
    return UsableContext(fields, encode(fields), prepared.context.dropped)


def _draw(prepared: PreparedDecision, candidates: Candidates, line: str, above: Sequence[str]) -> _Drawn:
    policy, predictor = prepared.arm.policy, prepared.model.predictor
    placed = prepared.eligible.candidates.lines_of(above)
    counted, counts = _counted(prepared, candidates), None
    if counted is not None:
        counts = targets.counts_of(counted, prepared.arm.key)
    chances = distribution(policy, predictor, line, candidates.lines, candidates.ids, placed, counts=counts).tolist()
    decision_id = position_id(prepared.identified.decision_id, len(above) + 1)
    draw = draws.draw(prepared.experiment.salt, decision_id)
    return _Drawn(decision_id, chances, draw, draws.sample(chances, draw), counted)


def _counted(prepared: PreparedDecision, candidates: Candidates) -> Counted | None:
    """Return the counts that the decision sees; None: no arm has a target over a window, or its counts are missing or old."""
    windows = prepared.experiment.targets
    if not windows:
        return None
    counted = targets.seen(windows, prepared.counts, candidates.ids, candidates.lines)
    if counted is None:
        metrics.count_resting(prepared.experiment.key)
    return counted


def _row(prepared: PreparedDecision, parts: _Parts) -> NewDecision:
    """Return the row without its seal."""
    experiment, request, drawn = prepared.experiment, prepared.identified.request, parts.drawn
    action = parts.eligible.candidates.ids[drawn.chosen]
    return NewDecision(
        id=drawn.decision_id,
        experiment_id=experiment.id,
        config_version=experiment.config_version,
        key_id=prepared.key_id,
        body_hash=prepared.identified.body_hash,
        unit_id=request.unit_id,
        arm=prepared.arm.key,
        policy_version=prepared.model.number,
        policy_sha256=prepared.model.sha256,
        actions=prepared.identified.actions,
        eligible=parts.eligible.candidates.ids,
        ineligible=parts.eligible.against or None,
        distribution=drawn.distribution,
        chosen=drawn.chosen,
        propensity=drawn.distribution[drawn.chosen],
        draw=drawn.draw,
        context=parts.context.fields,
        encoding_version=ENCODING_VERSION,
        message=parts.messages.get(action),
        state=TRIAL if prepared.trial else "deferred" if request.defer_activation else "active",
        channel=None if request.actions is not None else experiment.channels.get(action),
        withheld=parts.denied or None,
        dropped=parts.context.dropped or None,
        holdout_version=prepared.holdout_version,
        holdout=prepared.held_back or None,
        counted=drawn.counted,
        seal="",
        window_s=experiment.config.reward.window_s,
        unit_known=parts.unit_known,
    )


def _messages(
    experiment: Experiment, request: MessageRequest, candidates: Candidates
) -> tuple[Messages, dict[str, Reason]]:
    """Render the message of each candidate; returns also the reasons why others cannot be rendered for this person."""
    render_action = _renderer(experiment, request)
    asks = {action.id: action.template.asks for action in experiment.config.actions if action.template}
    messages: Messages = {}
    reasons = {}
    for action in candidates.ids:
        channel = experiment.channels.get(action)
        if channel is None:
            messages[action] = None
        elif request.channel not in (None, channel):
            reasons[action] = Reason("other_channel", {"channel": channel})
        else:
            try:
                question = asks.get(action)
                messages[action] = render_action(action)._asdict() | ({"asks": question} if question else {})
            except NotFor as error:
                reasons[action] = error.reason
    return messages, reasons


def _renderer(experiment: Experiment, request: MessageRequest) -> Callable[[str], Rendered]:
    """Return a function that renders an action for this person; it raises `NotFor` if that is impossible."""
    if experiment.config.composition is not None:
        return Composer(experiment.config.composition, request.locale, request.variables).render
    templates = {action.id: action.template for action in experiment.config.actions if action.template}
    return lambda action: render(templates[action], request.locale, request.variables)


def _nothing_eligible(eligible: Eligible) -> NothingEligible:
    answers = [ineligible_answer(logged) for logged in eligible.against[:5]]
    words = "; ".join(f"{answer['id']}: {answer['reason']}" for answer in answers)
    error = invalid((FieldError("", "nothing_eligible", {"reasons": words}),))
    return NothingEligible(error.code, error.detail, error.fields)
