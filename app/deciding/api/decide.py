"""Decide: what apps call to choose an action or a message."""

from flask import Response
from flask_openapi import APIBlueprint, Tag

from app.accounts.api.auth import caller, needs
from app.deciding import decide as decisions
from app.deciding.requests import DecideBatch, DecideRequest, MessageRequest, identify
from app.deciding.serving import runtime
from app.foundation.api import answers
from app.foundation.api.respond import as_json, request_document

blueprint = APIBlueprint(
    "apps",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="apps", description="What apps call.")],
    abp_responses=answers.PROBLEMS,
)


@blueprint.post("/decide", responses={200: answers.DecideAnswer, 201: answers.DecideAnswer})
@needs("decide", browsers=True)
def decide(body: DecideRequest) -> Response:
    """Choose an action. 201: decided now. 200: the stored answer to the same decision_id and body."""
    (decided,) = decisions.decide(runtime(), caller(), [identify(body, request_document())])
    return as_json(decided.answer, 201 if decided.created else 200)


@blueprint.post("/decide/batch", responses={200: answers.DecideBatchAnswer, 201: answers.DecideBatchAnswer})
@needs("decide")
def decide_batch(body: DecideBatch) -> Response:
    """Up to 1,000 decisions in one commit: all, or none. 201: at least one is new."""
    raw = request_document()["decisions"]
    identified = [identify(item, plain) for item, plain in zip(body.decisions, raw, strict=True)]
    decided = decisions.decide(runtime(), caller(), identified)
    created = any(decision.created for decision in decided)
    return as_json({"decisions": [decision.answer for decision in decided]}, 201 if created else 200)


@blueprint.post("/messages/decide", responses={200: answers.MessageAnswer, 201: answers.MessageAnswer})
@needs("decide", browsers=True)
def decide_message(body: MessageRequest) -> Response:
    """Choose a message and render it for a person. Variants that lack a value for this person are left out of the draw."""
    (decided,) = decisions.decide(runtime(), caller(), [identify(body, request_document())])
    return as_json(decided.answer | {"message": decided.message}, 201 if decided.created else 200)
