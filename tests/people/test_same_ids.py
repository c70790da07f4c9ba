"""Two experiments with the same ids: learning, audits, erasure and retention of one leave the other as it is."""

from typing import Any

import pytest

from app.messaging.store import deliveries
from app.people import erasure, retention
from tests.people.test_erasure import shorter_retention
from tests.service import Loop, bandit, query

ROWS = 60
KEPT = """
    SELECT d.id, d.unit_id, d.context::text, d.seal, o.reward, r.value, f.kind, l.reward, m.message::text
    FROM decisions d LEFT JOIN outcomes o ON o.decision_id = d.id AND o.experiment_id = d.experiment_id
    LEFT JOIN rewards r ON r.decision_id = d.id AND r.experiment_id = d.experiment_id
    LEFT JOIN feedback f ON f.decision_id = d.id AND f.experiment_id = d.experiment_id
    LEFT JOIN training_ledger l ON l.decision_id = d.id AND l.experiment_id = d.experiment_id
    LEFT JOIN deliveries m ON m.decision_id = d.id AND m.experiment_id = d.experiment_id
    WHERE d.experiment_id = %s ORDER BY d.id
"""


def _decided(loop: Loop, key: str, **fields: Any) -> int:
    """An experiment with decisions whose ids its twins have, too. Each reward is its action's, plus a part of its own."""
    from app.learning.feedback import feedback
    from app.learning.feedback_request import FeedbackRequest

    made = loop.make(key, arms=bandit(), **fields)
    bodies = [{"decision_id": f"twin-{n}", "unit_id": f"{key}-{n % 7}", "context": {"n": n % 5}} for n in range(ROWS)]
    answers = loop.decide(key, bodies)
    loop.reward(
        [
            {"decision_id": answer["decision_id"], "experiment": key, "value": {"a": 0.1, "b": 0.9, "c": 0.2}[chosen]}
            for answer, chosen in ((answer, answer["action"]["id"]) for answer in answers)
        ]
    )
    said = {"decision_id": "twin-3", "experiment": key, "kind": "thumbs", "value": "up"}
    feedback(loop.runtime, loop.caller, [FeedbackRequest.model_validate(said)])
    with loop.runtime.engine.begin() as connection:
        held = {"experiment_id": made, "unit_id": f"{key}-4", "webhook_id": None, "message": {"body": key}}
        assert deliveries.add(connection, decision_id="twin-4", **held)
        assert not deliveries.add(connection, decision_id="twin-4", **held)
    return made


def _settle(loop: Loop, *experiments: int) -> None:
    for made in experiments:
        loop.close_windows(made)
    for made in experiments:
        loop.train(made)


@pytest.fixture
def twins(loop: Loop, request: pytest.FixtureRequest) -> tuple[str, int, str, int]:
    """Two experiments whose decisions have the same ids, learned."""
    first, second = f"{request.node.name[5:30]}-1".replace("_", "-"), f"{request.node.name[5:30]}-2".replace("_", "-")
    made = [_decided(loop, key, retention_s=86_400.0) for key in (first, second)]
    _settle(loop, *made)
    return first, made[0], second, made[1]


def _sound(loop: Loop, *keys: str) -> None:
    for key in keys:
        report = loop.audit(key)
        assert report.ok, report.lines()


def test_each_learns_what_it_was_told(loop: Loop, twins: tuple[str, int, str, int]) -> None:
    first, made, second, other = twins
    _sound(loop, first, second)
    for experiment_id in (made, other):
        learned = query(
            loop.database_url,
            "SELECT count(*), count(DISTINCT decision_id) FROM training_ledger WHERE experiment_id = %s",
            experiment_id,
        )
        assert learned == [(ROWS, ROWS)]
        wrong = """
            SELECT count(*) FROM outcomes o JOIN decisions d ON d.id = o.decision_id AND d.experiment_id = o.experiment_id
            WHERE d.experiment_id = %s
              AND o.reward <> CASE d.eligible[d.chosen + 1] WHEN 'a' THEN 0.1 WHEN 'b' THEN 0.9 ELSE 0.2 END
        """
        assert query(loop.database_url, wrong, experiment_id) == [(0,)]


def test_a_reward_that_moves_to_the_twin_is_found(loop: Loop, twins: tuple[str, int, str, int]) -> None:
    first, made, second, other = twins
    move = "UPDATE rewards SET experiment_id = %s WHERE experiment_id = %s AND decision_id = 'twin-9'"
    query(loop.database_url, "DELETE FROM rewards WHERE experiment_id = %s AND decision_id = 'twin-9'", other)
    query(loop.database_url, move, other, made)
    assert not loop.audit(first).ok and not loop.audit(second).ok


def test_an_erasure_in_one_leaves_the_other(loop: Loop, twins: tuple[str, int, str, int]) -> None:
    first, made, second, other = twins
    before = query(loop.database_url, KEPT, other)
    asked = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, f"{first}-4")
    assert erasure.run_waiting(loop.runtime.engine, loop.settings) == [asked.erasure_id]
    assert query(loop.database_url, KEPT, other) == before
    assert len(query(loop.database_url, KEPT, made)) == ROWS - len(range(4, ROWS, 7))
    _sound(loop, first, second)


def test_retention_of_one_leaves_the_other(loop: Loop, twins: tuple[str, int, str, int]) -> None:
    first, made, second, other = twins
    before = query(loop.database_url, KEPT, other)
    loop.decide(first, [{"unit_id": "later"} for _ in range(41)])
    with shorter_retention(loop.database_url, made):
        assert retention.run(loop.runtime.engine, loop.settings) >= ROWS
    assert query(loop.database_url, KEPT, other) == before
    assert {row[1] for row in query(loop.database_url, KEPT, made)} == {"", "later"}
    _sound(loop, first, second)
