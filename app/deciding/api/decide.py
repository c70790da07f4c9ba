"""Decide: what apps call to choose an action or a message."""

from collections.abc import Mapping
from functools import partial

from flask_openapi import APIBlueprint, Tag

from app.accounts.api.hot import Answered, Asked, hot, stored
from app.accounts.keys import check_id
from app.deciding import decide as decisions
from app.deciding.api import answers
from app.deciding.decide import AnsweredDecision
from app.deciding.requests import DecideBatch, DecideRequest, IdentifiedRequest, MessageRequest, identify
from app.deciding.serving import runtime_of
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.running.steps import Steps

blueprint = APIBlueprint(
    "apps",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="apps", description="What apps call.")],
    abp_responses=PROBLEMS,
)


@hot(blueprint, "/decide", "decide", browsers=True, responses={200: answers.DecideAnswer, 201: answers.DecideAnswer})
def decide(asked: Asked, body: DecideRequest) -> Steps[Answered]:
    """Choose an action. 201: decided now. 200: the stored answer to the same decision_id and body."""
    (decided,) = yield from _decided(asked, [identify(body, asked.document)])
    return _answered(asked, [decided], decided.answer)


@hot(blueprint, "/decide/batch", "decide", responses={200: answers.DecideBatchAnswer, 201: answers.DecideBatchAnswer})
def decide_batch(asked: Asked, body: DecideBatch) -> Steps[Answered]:
    """Up to 1,000 decisions in one commit: all, or none. 201: at least one is new."""
    raw = asked.document["decisions"]
    identified = [identify(item, plain) for item, plain in zip(body.decisions, raw, strict=True)]
    decided = yield from _decided(asked, identified)
    return _answered(asked, decided, {"decisions": [decision.answer for decision in decided]})


@hot(
    blueprint,
    "/messages/decide",
    "decide",
    browsers=True,
    responses={200: answers.MessageAnswer, 201: answers.MessageAnswer},
)
def decide_message(asked: Asked, body: MessageRequest) -> Steps[Answered]:
    """Choose a message and render it for a person. Variants that lack a value for this person are left out of the draw."""
    (decided,) = yield from _decided(asked, [identify(body, asked.document)])
    return _answered(asked, [decided], decided.answer | {"message": decided.message})


def _decided(asked: Asked, requests: list[IdentifiedRequest]) -> Steps[list[AnsweredDecision]]:
    for identified in requests:
        check_id(asked.caller, identified.request.decision_id, "/decision_id")
        asked.count_unit(identified.request.unit_id)
    return (yield from decisions.deciding(runtime_of(asked), asked.caller, requests))


def _answered(asked: Asked, decided: list[AnsweredDecision], document: Mapping[str, object]) -> Answered:
    created = any(decision.created for decision in decided)
    return stored(document, created, partial(decisions.disown, runtime_of(asked), decided))
