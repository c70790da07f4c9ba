"""Send answers of people to the services in this process."""

from typing import Any

from app.learning import feedback
from app.learning.feedback_request import FeedbackRequest
from app.learning.rebuild import Applied, apply_waiting
from tests.service import Loop

THUMBS = {"thumbs": {"up": 1.0, "down": 0.0}, "limit": 10_000}
TURNED = {"thumbs": {"up": 0.0, "down": 1.0}, "limit": 10_000}


def say(loop: Loop, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Store answers in one commit."""
    requests = [FeedbackRequest.model_validate(answer) for answer in answers]
    return [receipt.answer for receipt in feedback.feedback(loop.runtime, loop.caller, requests)]


def change(loop: Loop, key: str, schema: dict[str, Any] | None) -> None:
    """Change the feedback schema."""
    from app.design import experiments

    experiments.change(loop.runtime.engine, loop.settings, key, {"feedback": schema}, "test")
    loop.runtime.snapshots.refresh()


def apply(loop: Loop) -> list[Applied]:
    """Apply waiting schemas as the worker does when beat starts it."""
    done = apply_waiting(loop.runtime.engine, loop.settings)
    loop.runtime.snapshots.refresh()
    return done


def answered_round(
    loop: Loop, key: str, experiment_id: int, count: int = 30, best: str = "b", arm: str = "learned"
) -> Any:
    """Train a round in which every second decision has a thumb (up for the best action) and every third a reward of 0.25."""
    decided = loop.decide(key, [{"context": {"n": n % 5}} for n in range(count)])
    answers = []
    for n, decision in enumerate(decided):
        if n % 2:
            thumb = "up" if decision["action"]["id"] == best else "down"
            answers.append({"decision_id": decision["decision_id"], "kind": "thumbs", "value": thumb})
    loop.reward([{"decision_id": decision["decision_id"], "value": 0.25} for decision in decided[::3]])
    say(loop, answers)
    loop.close_windows(experiment_id)
    done = loop.train(experiment_id, arm)
    loop.runtime.snapshots.refresh()
    return done
