"""Every hot statement names the experiment of each row of the log it touches: by that key a cluster would distribute the log."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import event

from app.deciding import decide
from app.deciding.requests import MessageRequest, identify
from app.learning import feedback, rewards
from app.learning.feedback_request import FeedbackRequest
from tests.deciding.test_fatigue import ACTIONS
from tests.service import Loop

LOG: Final = (
    "decision_ids",
    "decisions",
    "rewards",
    "feedback",
    "outcomes",
    "awaiting_outcome",
    "training_ledger",
    "deliveries",
)
SAYS: Final = [{"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "tip"}}]
_USED: Final = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE)\s+({'|'.join(LOG)})\b(?:\s+(?:AS\s+)?([a-z_]+))?", re.IGNORECASE)
_WORDS: Final = {
    "where",
    "on",
    "join",
    "using",
    "set",
    "order",
    "limit",
    "group",
    "values",
    "left",
    "cross",
    "for",
    "union",
}


def without_key(statement: str) -> list[str]:
    """The tables of the log that a statement uses without their experiment."""
    plain = " ".join(re.sub(r"--[^\n]*", " ", statement).split())
    found = []
    for verb, table, alias in _USED.findall(plain):
        name = alias if alias and alias.lower() not in _WORDS else table
        own = rf"\b{name}\.(experiment_id\b|\*)" if name != table and verb.upper() == "JOIN" else r"\bexperiment_id\b"
        if not re.search(own, plain) and "USING (experiment_id" not in plain:
            found.append(f"{verb} {table}")
    return found


@contextmanager
def recorded(engine: Any) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_what_is_hot_names_the_experiment(loop: Loop) -> None:
    """Decide, also a message under caps and again; activate, reward, give feedback, learn."""
    with recorded(loop.runtime.engine) as statements:
        loop.learn("keyed", 40)
        loop.make("keyed-messages", actions=ACTIONS, arms=SAYS, fatigue={"caps": [{"limit": 3, "window_s": 86_400}]})
        asked = {"experiment": "keyed-messages", "unit_id": "ann", "decision_id": "first", "defer_activation": True}
        for _ in range(2):
            decide.decide(loop.runtime, loop.caller, [identify(MessageRequest.model_validate(asked), asked)])
        rewards.activate(loop.runtime, loop.caller, "first", "keyed-messages")
        loop.reward([{"decision_id": "first", "value": 1.0}])
        given = FeedbackRequest(decision_id="first", kind="thumbs", value="up")
        feedback.feedback(loop.runtime, loop.caller, [given])
    hot = [statement for statement in statements if _USED.search(statement)]
    tables = {table.lower() for statement in hot for _, table, _ in _USED.findall(statement)}
    assert tables >= set(LOG) - {"deliveries"}
    assert {statement: missing for statement in hot if (missing := without_key(statement))} == {}


def test_a_statement_without_the_key_is_found() -> None:
    assert without_key("SELECT 1 FROM decisions d JOIN rewards r ON r.decision_id = d.id AND d.experiment_id = 1") == [
        "JOIN rewards"
    ]
    assert without_key("INSERT INTO rewards (decision_id) VALUES (1)") == ["INTO rewards"]
