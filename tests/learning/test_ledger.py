"""Which decisions are due, in which order they are learned, and that the ledger reads back in that order."""

from datetime import timedelta
from typing import Any

import pytest

from app.foundation.store.engine import transaction
from app.learning.store import training
from tests.learning.feedback_support import THUMBS, say
from tests.service import Loop, bandit, move_decisions, query

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def experiment_id(loop: Loop) -> int:
    """Five decisions, a minute apart; e and d were made at one moment. Stored in another order than they were made."""
    made = loop.make("ledger", arms=bandit(), feedback=THUMBS)
    loop.decide("ledger", [{"decision_id": name} for name in ("b", "e", "a", "d", "c")])
    for name, minute in {"c": 1, "a": 2, "d": 3, "e": 3, "b": 4}.items():
        when = f"'2026-01-01'::timestamptz + make_interval(mins => {minute})"
        move_decisions(loop.database_url, when, "d.id = %s", name)
    # Windows close in another order again, as those of deferred decisions do.
    for hour, name in enumerate(NAMES):
        when = "UPDATE awaiting_outcome SET closes_at = '2026-01-02'::timestamptz + make_interval(hours => %s)"
        query(loop.database_url, f"{when} WHERE decision_id = %s", hour, name)
    return made


def _due(loop: Loop, experiment_id: int, until: str, most: int = 10, arm: str = "learned") -> list[Any]:
    ((moment,),) = query(loop.database_url, "SELECT %s::timestamptz", until)
    with transaction(loop.runtime.engine) as connection:
        return training.due(connection, experiment_id, arm, moment, most)


def test_what_is_due_comes_oldest_first_then_by_id(loop: Loop, experiment_id: int) -> None:
    assert [row.id for row in _due(loop, experiment_id, "2026-01-03")] == ["c", "a", "d", "e", "b"]
    assert [row.id for row in _due(loop, experiment_id, "2026-01-03", most=2)] == ["c", "a"]


def test_a_decision_is_due_from_the_moment_its_window_closes(loop: Loop, experiment_id: int) -> None:
    assert [row.id for row in _due(loop, experiment_id, "2026-01-02 02:00")] == ["c", "a", "b"]
    assert [row.id for row in _due(loop, experiment_id, "2026-01-02 01:59")] == ["a", "b"]


def test_an_arm_and_an_experiment_have_their_own(loop: Loop, experiment_id: int) -> None:
    assert _due(loop, experiment_id, "2026-01-03", arm="another") == []
    assert _due(loop, experiment_id + 1, "2026-01-03") == []


def test_arms_are_due_when_a_window_has_closed(loop: Loop, experiment_id: int) -> None:
    open_id = loop.make("open-window", arms=bandit())
    loop.decide("open-window", [{}])
    with transaction(loop.runtime.engine) as connection:
        arms = training.arms_with_due_decisions(connection)
        waiting, lag_s = training.lag(connection)
    assert (experiment_id, "learned") in arms
    assert (open_id, "learned") not in arms
    assert (waiting, lag_s > 60) == (5, True)


def test_only_rewards_and_answers_in_time_come_with_a_decision(loop: Loop, experiment_id: int) -> None:
    loop.make("joins", arms=bandit(), feedback=THUMBS)
    (decided,) = loop.decide("joins", [{"decision_id": "joined"}])
    told = {"decision_id": decided["decision_id"]}
    loop.reward([told | {"value": 1.0, "reward_id": "in time"}, told | {"value": 9.0, "metric": "clicks"}])
    say(
        loop,
        [
            told | {"kind": "thumbs", "value": "up", "feedback_id": "in time"},
            told | {"kind": "comment", "comment": "so"},
        ],
    )
    query(loop.database_url, "UPDATE decisions SET closes_at = clock_timestamp() WHERE id = 'joined'")
    query(loop.database_url, "UPDATE awaiting_outcome SET closes_at = clock_timestamp() WHERE decision_id = 'joined'")
    assert loop.reward([told | {"value": 0.5, "reward_id": "late"}])[0]["late"]
    assert say(loop, [told | {"kind": "thumbs", "value": "down", "feedback_id": "late"}])[0]["late"]
    ((joins_id,),) = query(loop.database_url, "SELECT experiment_id FROM decisions WHERE id = 'joined'")
    (due,) = _due(loop, joins_id, "2101-01-01")
    assert sorted((value, metric) for value, _, _, metric in due.rewards) == [(1.0, "reward"), (9.0, "clicks")]
    assert "late" not in {name for _, _, name, _ in due.rewards}
    assert [(kind, value, name) for kind, value, _, name in due.feedback] == [("thumbs", "up", "in time")]
    assert due.refused == []


def test_the_ledger_reads_back_in_the_order_of_learning(loop: Loop, experiment_id: int) -> None:
    version_id = 10**6
    learned = [(name, float(n)) for n, name in enumerate(reversed(NAMES))]
    with transaction(loop.runtime.engine) as connection:
        training.write_ledger(connection, training.Generation(experiment_id, "learned", 9), version_id, learned)
        (whole,) = training.rounds_of(connection, version_id, None)
        parts = list(training.rounds_of(connection, version_id, [2, 3]))
    assert [(row.id, reward) for reward, row in whole] == learned
    assert [[row.id for _, row in part] for part in parts] == [["e", "d"], ["c", "b", "a"]]
    positions = "SELECT position FROM training_ledger WHERE version_id = %s ORDER BY decision_id DESC"
    assert [row[0] for row in query(loop.database_url, positions, version_id)] == [0, 1, 2, 3, 4]
    with transaction(loop.runtime.engine) as connection:
        training.write_ledger(
            connection, training.Generation(experiment_id, "learned", 10), version_id + 1, learned[:1], 7
        )
    assert query(loop.database_url, positions, version_id + 1) == [(7,)]


def test_a_decision_is_settled_once_and_without_an_outcome_if_it_may_not_be_analysed(loop: Loop) -> None:
    settled_id = loop.make("settles", arms=bandit())
    loop.decide("settles", [{"decision_id": name} for name in ("counts", "private")])
    loop.close_windows(settled_id)
    later = "UPDATE awaiting_outcome SET closes_at = decided_at + interval '1 hour' FROM decisions d"
    query(loop.database_url, f"{later} WHERE decision_id = d.id AND d.id = 'counts'")  # its window opened later
    due = {row.id: row for row in _due(loop, settled_id, "2101-01-01")}
    outcomes = [
        training.Outcome(due["counts"], 0.5, 3),
        training.Outcome(due["private"]._replace(refused=["analyse"]), 1.0, 1),
    ]
    with transaction(loop.runtime.engine) as connection:
        training.settle(connection, settled_id, "learned", outcomes, 4, {1: 600.0})
    columns = "decision_id, arm, unit_id, reward, events, decided_at, feedback_version, config_version, opened_at"
    stored = f"SELECT {columns} FROM outcomes WHERE experiment_id = %s"
    counted = due["counts"]
    assert query(loop.database_url, stored, settled_id) == [
        (
            "counts",
            "learned",
            counted.unit_id,
            0.5,
            3,
            counted.decided_at,
            4,
            1,
            counted.decided_at + timedelta(minutes=50),
        )
    ]
    assert _due(loop, settled_id, "2101-01-01") == []
