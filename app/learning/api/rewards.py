"""Routes for rewards, feedback and activations."""

from functools import partial

from app.accounts.api.hot import Answered, Asked, hot, stored
from app.deciding.api.decide import blueprint
from app.deciding.naming import DecisionPath, ExperimentQuery
from app.deciding.serving import runtime_of
from app.foundation.running.steps import Blocking, Steps
from app.learning import feedback as feedback_service
from app.learning import rewards
from app.learning.api import answers
from app.learning.feedback_request import FeedbackBatch, FeedbackRequest
from app.learning.reward_request import RewardBatch, RewardRequest
from app.learning.rewards import ActivationAnswer

__all__ = ["blueprint"]  # these routes join those of app.deciding.api


@hot(blueprint, "/reward", "reward", browsers=True, responses={200: answers.RewardAnswer, 201: answers.RewardAnswer})
def reward(asked: Asked, body: RewardRequest) -> Steps[Answered]:
    """Report what a decision was worth. 201: stored now. 200: the receipt of the same event."""
    (receipt,) = yield from rewards.rewarding(runtime_of(asked), asked.caller, [body])
    return stored(receipt.answer, receipt.created)


@hot(blueprint, "/rewards/batch", "reward", responses={200: answers.RewardBatchAnswer, 201: answers.RewardBatchAnswer})
def reward_batch(asked: Asked, body: RewardBatch) -> Steps[Answered]:
    """Up to 1,000 rewards in one commit: all, or none. 201: at least one is new."""
    receipts = yield from rewards.rewarding(runtime_of(asked), asked.caller, body.rewards)
    return stored({"rewards": [receipt.answer for receipt in receipts]}, any(receipt.created for receipt in receipts))


@hot(
    blueprint,
    "/feedback",
    "reward",
    browsers=True,
    responses={200: answers.FeedbackAnswer, 201: answers.FeedbackAnswer},
)
def feedback(asked: Asked, body: FeedbackRequest) -> Steps[Answered]:
    """Report what somebody said of a decision. 201: stored now. 200: the receipt of the same answer."""
    (receipt,) = yield from feedback_service.answering(runtime_of(asked), asked.caller, [body])
    return stored(receipt.answer, receipt.created)


@hot(
    blueprint,
    "/feedback/batch",
    "reward",
    responses={200: answers.FeedbackBatchAnswer, 201: answers.FeedbackBatchAnswer},
)
def feedback_batch(asked: Asked, body: FeedbackBatch) -> Steps[Answered]:
    """Up to 1,000 answers in one commit: all, or none. 201: at least one is new."""
    receipts = yield from feedback_service.answering(runtime_of(asked), asked.caller, body.feedback)
    return stored({"feedback": [receipt.answer for receipt in receipts]}, any(receipt.created for receipt in receipts))


@hot(
    blueprint,
    "/decisions/<path:decision_id>/activate",
    "reward",
    browsers=True,
    responses={200: answers.ActivationAnswer},
)
def activate(asked: Asked, path: DecisionPath, query: ExperimentQuery) -> Steps[Answered]:
    """A deferred decision was shown: its reward window opens now. Without this it is never learned from."""
    answer: ActivationAnswer = yield Blocking(
        partial(rewards.activate, runtime_of(asked), asked.caller, path.decision_id, query.experiment)
    )
    return Answered(answer, 200)
