"""Decide, reward, feedback, activate: what apps call."""

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel

from app.api import answers
from app.api.auth import caller, needs
from app.api.respond import as_json
from app.services import decide as decisions
from app.services import feedback as answers_of_people
from app.services import rewards
from app.services.feedback_request import FeedbackBatch, FeedbackRequest
from app.services.requests import DecideBatch, DecideRequest, MessageRequest, RewardBatch, RewardRequest
from app.serving import runtime

blueprint = APIBlueprint(
    "apps",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="apps", description="What apps call.")],
    abp_responses=answers.PROBLEMS,
)


class DecisionPath(BaseModel):
    decision_id: str


@blueprint.post("/decide", responses={200: answers.DecideAnswer, 201: answers.DecideAnswer})
@needs("decide", browsers=True)
def decide(body: DecideRequest) -> Response:
    """Choose an action. 201: decided now. 200: the stored answer to the same decision_id and body."""
    (decided,) = decisions.decide(runtime(), caller(), [decisions.asked(body, request.document)])  # type: ignore[attr-defined]
    return as_json(decided.answer, 201 if decided.created else 200)


@blueprint.post("/decide/batch", responses={200: answers.DecideBatchAnswer, 201: answers.DecideBatchAnswer})
@needs("decide")
def decide_batch(body: DecideBatch) -> Response:
    """Up to 1,000 decisions in one commit: all, or none. 201: at least one is new."""
    raw = request.document["decisions"]  # type: ignore[attr-defined]
    asked = [decisions.asked(item, plain) for item, plain in zip(body.decisions, raw, strict=True)]
    decided = decisions.decide(runtime(), caller(), asked)
    created = any(one.created for one in decided)
    return as_json({"decisions": [one.answer for one in decided]}, 201 if created else 200)


@blueprint.post("/messages/decide", responses={200: answers.MessageAnswer, 201: answers.MessageAnswer})
@needs("decide", browsers=True)
def decide_message(body: MessageRequest) -> Response:
    """Choose a message and render it for a person. Variants that lack a value for this person are left out of the draw."""
    (decided,) = decisions.decide(runtime(), caller(), [decisions.asked(body, request.document)])  # type: ignore[attr-defined]
    return as_json(decided.answer | {"message": decided.message}, 201 if decided.created else 200)


@blueprint.post("/reward", responses={200: answers.RewardAnswer, 201: answers.RewardAnswer})
@needs("reward", browsers=True)
def reward(body: RewardRequest) -> Response:
    """Report what a decision was worth. 201: stored now. 200: the receipt of the same event."""
    (receipt,) = rewards.reward(runtime(), caller(), [body])
    return as_json(receipt.answer, 201 if receipt.created else 200)


@blueprint.post("/rewards/batch", responses={200: answers.RewardBatchAnswer, 201: answers.RewardBatchAnswer})
@needs("reward")
def reward_batch(body: RewardBatch) -> Response:
    """Up to 1,000 rewards in one commit: all, or none. 201: at least one is new."""
    receipts = rewards.reward(runtime(), caller(), body.rewards)
    created = any(receipt.created for receipt in receipts)
    return as_json({"rewards": [receipt.answer for receipt in receipts]}, 201 if created else 200)


@blueprint.post("/feedback", responses={200: answers.FeedbackAnswer, 201: answers.FeedbackAnswer})
@needs("reward", browsers=True)
def feedback(body: FeedbackRequest) -> Response:
    """Report what somebody said of a decision. 201: stored now. 200: the receipt of the same answer."""
    (receipt,) = answers_of_people.feedback(runtime(), caller(), [body])
    return as_json(receipt.answer, 201 if receipt.created else 200)


@blueprint.post("/feedback/batch", responses={200: answers.FeedbackBatchAnswer, 201: answers.FeedbackBatchAnswer})
@needs("reward")
def feedback_batch(body: FeedbackBatch) -> Response:
    """Up to 1,000 answers in one commit: all, or none. 201: at least one is new."""
    receipts = answers_of_people.feedback(runtime(), caller(), body.feedback)
    created = any(receipt.created for receipt in receipts)
    return as_json({"feedback": [receipt.answer for receipt in receipts]}, 201 if created else 200)


@blueprint.post("/decisions/<path:decision_id>/activate", responses={200: answers.ActivationAnswer})
@needs("reward", browsers=True)
def activate(path: DecisionPath) -> Response:
    """A deferred decision was shown: its reward window opens now. Without this it is never learned from."""
    return as_json(rewards.activate(runtime(), caller(), path.decision_id))
