"""Routes for rewards, feedback and activations."""

from collections.abc import Mapping

from flask import Response

from app.accounts.api.auth import caller, needs
from app.deciding.api.decide import blueprint
from app.deciding.requests import DecisionPath
from app.deciding.serving import runtime
from app.foundation.api import answers
from app.foundation.api.respond import as_json
from app.learning import feedback as feedback_service
from app.learning import rewards
from app.learning.feedback_request import FeedbackBatch, FeedbackRequest
from app.learning.reward_request import RewardBatch, RewardRequest

__all__ = ["blueprint"]  # these routes join those of app.deciding.api


@blueprint.post("/reward", responses={200: answers.RewardAnswer, 201: answers.RewardAnswer})
@needs("reward", browsers=True)
def reward(body: RewardRequest) -> Response:
    """Report what a decision was worth. 201: stored now. 200: the receipt of the same event."""
    (receipt,) = rewards.reward(runtime(), caller(), [body])
    return _receipt(receipt.answer, receipt.created)


@blueprint.post("/rewards/batch", responses={200: answers.RewardBatchAnswer, 201: answers.RewardBatchAnswer})
@needs("reward")
def reward_batch(body: RewardBatch) -> Response:
    """Up to 1,000 rewards in one commit: all, or none. 201: at least one is new."""
    receipts = rewards.reward(runtime(), caller(), body.rewards)
    document = {"rewards": [receipt.answer for receipt in receipts]}
    return _receipt(document, any(receipt.created for receipt in receipts))


@blueprint.post("/feedback", responses={200: answers.FeedbackAnswer, 201: answers.FeedbackAnswer})
@needs("reward", browsers=True)
def feedback(body: FeedbackRequest) -> Response:
    """Report what somebody said of a decision. 201: stored now. 200: the receipt of the same answer."""
    (receipt,) = feedback_service.feedback(runtime(), caller(), [body])
    return _receipt(receipt.answer, receipt.created)


@blueprint.post("/feedback/batch", responses={200: answers.FeedbackBatchAnswer, 201: answers.FeedbackBatchAnswer})
@needs("reward")
def feedback_batch(body: FeedbackBatch) -> Response:
    """Up to 1,000 answers in one commit: all, or none. 201: at least one is new."""
    receipts = feedback_service.feedback(runtime(), caller(), body.feedback)
    document = {"feedback": [receipt.answer for receipt in receipts]}
    return _receipt(document, any(receipt.created for receipt in receipts))


@blueprint.post("/decisions/<path:decision_id>/activate", responses={200: answers.ActivationAnswer})
@needs("reward", browsers=True)
def activate(path: DecisionPath) -> Response:
    """A deferred decision was shown: its reward window opens now. Without this it is never learned from."""
    return as_json(rewards.activate(runtime(), caller(), path.decision_id))


def _receipt(document: Mapping[str, object], created: bool) -> Response:
    """201: something was stored now. 200: all of it was known."""
    return as_json(document, 201 if created else 200)
