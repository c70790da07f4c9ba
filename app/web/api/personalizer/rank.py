"""Rank, reward and activate, for events with one slot.

The API key is bound to one experiment (``loopwise keys create --experiment KEY``); the actions come with each call.
"""

from functools import partial

from pydantic import BaseModel, Field, JsonValue

from app.accounts.api.hot import Answered, Asked, hot
from app.deciding import decide as decisions
from app.deciding import naming
from app.deciding.answer import Answer
from app.deciding.requests import DecideRequest, identify
from app.deciding.serving import runtime_of
from app.deciding.snapshot import Experiment
from app.design.experiment_config import MAX_ACTIONS
from app.foundation.ids import new_id
from app.foundation.running.steps import Blocking, Steps
from app.learning import rewards
from app.learning.reward_request import RewardRequest
from app.web.api.personalizer.shapes import (
    Actions,
    EventId,
    EventPath,
    Theirs,
    blueprint,
    bound_id,
    context_of,
    specs_of,
)


class RankRequest(Theirs):
    contextFeatures: list[JsonValue] = Field(default_factory=list)
    actions: Actions
    excludedActions: list[EventId] = Field(default_factory=list, max_length=MAX_ACTIONS)
    eventId: EventId | None = None
    deferActivation: bool = False


class RankedAction(BaseModel):
    id: str
    probability: float


class RankAnswer(BaseModel):
    ranking: list[RankedAction]
    eventId: str
    rewardActionId: str


class RewardBody(BaseModel):
    value: float = Field(allow_inf_nan=False, strict=True)


@hot(blueprint, "/rank", "decide", responses={201: RankAnswer})
def rank(asked: Asked, body: RankRequest) -> Steps[Answered]:
    """Rank actions; the same event id gives the same ranking again."""
    experiment = yield from experiment_of(asked)
    actions = specs_of(body.actions)
    asked_request = DecideRequest(
        experiment=experiment.key,
        unit_id=body.eventId or new_id(),  # that service knows no units: each event is its own
        context=context_of(body.contextFeatures),
        actions=actions,
        excluded_actions=body.excludedActions,
        decision_id=body.eventId,
        defer_activation=body.deferActivation,
    )
    # The experiment is part of the compared request: the same event id in another experiment is not a retry.
    plain = {"experiment": experiment.key, "actions": [action.model_dump(mode="json") for action in actions]}
    document = asked.document | plain
    decided = yield from decisions.deciding(runtime_of(asked), asked.caller, [identify(asked_request, document)])
    answer = decided[0].answer
    chances = {item["id"]: item["probability"] for item in answer["ranking"]}
    ranking = [{"id": name, "probability": chances.get(name, 0.0)} for name in _order(answer, body)]
    ranked = {"ranking": ranking, "eventId": answer["decision_id"], "rewardActionId": answer["action"]["id"]}
    return Answered(ranked, 201, partial(decisions.disown, runtime_of(asked), decided))


@hot(blueprint, "/events/<path:event_id>/reward", "reward", responses={204: None})
def reward(asked: Asked, path: EventPath, body: RewardBody) -> Steps[Answered]:
    """Report a reward between 0 and 1 (or the experiment's own bounds)."""
    bound_id(asked.caller)
    request = RewardRequest(decision_id=path.event_id, value=body.value)
    yield from rewards.rewarding(runtime_of(asked), asked.caller, [request])
    return Answered(None, 204)


@hot(blueprint, "/events/<path:event_id>/activate", "reward", responses={204: None})
def activate(asked: Asked, path: EventPath) -> Steps[Answered]:
    """Record that a deferred event was shown to its user."""
    bound_id(asked.caller)
    yield Blocking(partial(rewards.activate, runtime_of(asked), asked.caller, path.event_id))
    return Answered(None, 204)


def experiment_of(asked: Asked) -> Steps[Experiment]:
    """The experiment of a call's key, ready to decide."""
    bound = bound_id(asked.caller)
    experiment: Experiment | None = runtime_of(asked).snapshots.current.by_id.get(bound)
    if experiment is None:
        experiment = yield Blocking(partial(naming.experiment_of, runtime_of(asked), bound))
    assert experiment is not None
    return experiment


def _order(answer: Answer, body: RankRequest) -> list[str]:
    """The chosen action first, then the others from likely to unlikely; an excluded action keeps its position."""
    order = [item["id"] for item in answer["ranking"]]
    excluded = {item["id"] for item in answer["ineligible"]}
    for index, action in enumerate(body.actions):
        if action.id in excluded:
            order.insert(index, action.id)
    return order
