"""Rank, rewards and activate for events with several slots. An event is a list whose positions are the slots."""

from functools import partial
from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

from app.accounts.api.hot import Answered, Asked, hot
from app.deciding import decide as decisions
from app.deciding import naming
from app.deciding.requests import Slot, SlottedRequest, identify
from app.deciding.serving import runtime_of
from app.design.experiment_config import MAX_ACTIONS, MAX_POSITIONS
from app.foundation.errors import FieldError, NotFound
from app.foundation.fields import invalid, repeated
from app.foundation.ids import new_id
from app.foundation.running.steps import Blocking, Steps
from app.learning import rewards
from app.learning.reward_request import RewardRequest
from app.web.api.personalizer.rank import experiment_of
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


class SlotRequest(Theirs):
    id: EventId
    features: list[JsonValue] = Field(default_factory=list)
    excludedActions: list[EventId] = Field(default_factory=list, max_length=MAX_ACTIONS)
    baselineAction: EventId | None = Field(
        default=None, description="What the app would show: the first action of its slot, which an apprentice shows."
    )


class MultiSlotRankRequest(Theirs):
    contextFeatures: list[JsonValue] = Field(default_factory=list)
    actions: Actions
    slots: list[SlotRequest] = Field(min_length=1, max_length=MAX_POSITIONS)
    eventId: EventId | None = None
    deferActivation: bool = False


class RankedSlot(BaseModel):
    id: str
    rewardActionId: str | None = Field(default=None, description="Not there: no action is left for this slot.")


class MultiSlotRankAnswer(BaseModel):
    slots: list[RankedSlot]
    eventId: str


class SlotReward(Theirs):
    slotId: EventId
    value: float = Field(allow_inf_nan=False, strict=True)


class MultiSlotRewards(Theirs):
    reward: Annotated[list[SlotReward], Field(min_length=1, max_length=MAX_POSITIONS)]


@hot(blueprint, "/multislot/rank", "decide", responses={201: MultiSlotRankAnswer})
def rank_slots(asked: Asked, body: MultiSlotRankRequest) -> Steps[Answered]:
    """Choose a different action for each slot; the same event id gives the same choices again."""
    experiment = yield from experiment_of(asked)
    for index, first in repeated(slot.id for slot in body.slots):
        raise invalid((FieldError(f"/slots/{index}/id", "slot_id_repeated", {"first": f"/slots/{first}"}),))
    actions = specs_of(body.actions)
    wanted = SlottedRequest(
        experiment=experiment.key,
        unit_id=body.eventId or new_id(),
        context=context_of(body.contextFeatures),
        actions=actions,
        decision_id=body.eventId,
        defer_activation=body.deferActivation,
        slots=len(body.slots),
        places=[
            Slot(slot.id, context_of(slot.features), frozenset(slot.excludedActions), slot.baselineAction)
            for slot in body.slots
        ],
    )
    plain = {"experiment": experiment.key, "actions": [action.model_dump(mode="json") for action in actions]}
    identified = identify(wanted, asked.document | plain)
    decided = yield from decisions.deciding(runtime_of(asked), asked.caller, [identified])
    answer = decided[0].answer
    chosen = [position["action"]["id"] for position in answer["positions"]]
    slots = [
        {"id": slot.id} | ({"rewardActionId": chosen[index]} if index < len(chosen) else {})
        for index, slot in enumerate(body.slots)
    ]
    ranked = {"slots": slots, "eventId": answer["decision_id"]}
    return Answered(ranked, 201, partial(decisions.disown, runtime_of(asked), decided))


@hot(blueprint, "/multislot/events/<path:event_id>/reward", "reward", responses={204: None})
def reward_slots(asked: Asked, path: EventPath, body: MultiSlotRewards) -> Steps[Answered]:
    """Report a reward for each slot that earned one: all are stored, or none."""
    by_slot = yield from _slots(asked, path.event_id)
    requests = []
    for item in body.reward:
        if item.slotId not in by_slot:
            raise NotFound("unknown_slot", f"Event {path.event_id!r} has no action in a slot {item.slotId!r}.")
        requests.append(RewardRequest(decision_id=by_slot[item.slotId], value=item.value))
    yield from rewards.rewarding(runtime_of(asked), asked.caller, requests)
    return Answered(None, 204)


@hot(blueprint, "/multislot/events/<path:event_id>/activate", "reward", responses={204: None})
def activate_slots(asked: Asked, path: EventPath) -> Steps[Answered]:
    """Record that the slots of a deferred event were shown to their user."""
    by_slot = yield from _slots(asked, path.event_id)
    for decision_id in by_slot.values():
        yield Blocking(partial(rewards.activate, runtime_of(asked), asked.caller, decision_id))
    return Answered(None, 204)


def _slots(asked: Asked, event_id: str) -> Steps[dict[str, str]]:
    bound = bound_id(asked.caller)
    by_slot: dict[str, str] = yield Blocking(partial(naming.slots_of_list, runtime_of(asked).engine, bound, event_id))
    return by_slot
