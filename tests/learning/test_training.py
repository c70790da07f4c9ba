"""Training is incremental, learns each decision exactly once after its window, and does not depend on arrival order."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tests.service import Loop, bandit, move_decisions, query

ALL = "SELECT decision_id FROM training_ledger WHERE experiment_id = %s"


def test_rounds_learn_each_decision_once_and_the_policy_prefers_rewarded_actions(loop: Loop) -> None:
    experiment_id = loop.make("rounds", arms=bandit())
    rounds = [loop.more("rounds", experiment_id, 40) for _ in range(3)]
    assert [(round_.number, round_.decisions, round_.promoted) for round_ in rounds] == [
        (1, 40, True),
        (2, 40, True),
        (3, 40, True),
    ]
    assert loop.train(experiment_id) is None
    (latest,) = loop.decide("rounds", [{"context": {"n": 1}}])
    assert latest["policy_version"] == 3
    assert {item["id"]: item["probability"] for item in latest["ranking"]}["b"] > 0.8


def test_rounds_learn_the_oldest_decisions_first_and_keep_the_order_within_a_round(
    loop: Loop, database_url: str
) -> None:
    """The order is by decision time, then by id. It is not the order of storing, and never newest first."""
    experiment_id = loop.make("ordered", arms=bandit())
    seconds = {"c": 1, "e": 1, "a": 2, "d": 3, "b": 4}  # by id; the decisions are stored in the opposite order
    loop.decide("ordered", [{"decision_id": f"ordered-{name}"} for name in reversed(seconds)])
    for name, second in seconds.items():
        at = f"'2026-01-01'::timestamptz + make_interval(secs => {second})"
        move_decisions(database_url, at, "d.id = %s", f"ordered-{name}")
    loop.close_windows(experiment_id)
    assert [loop.train(experiment_id, LOOPWISE_ROUND_DECISIONS="3").decisions for _ in range(2)] == [3, 2]
    learned = query(
        database_url,
        "SELECT v.number, l.decision_id FROM training_ledger l JOIN model_versions v ON v.id = l.version_id"
        " WHERE l.experiment_id = %s ORDER BY v.number, l.position",
        experiment_id,
    )
    assert learned == [(1, "ordered-c"), (1, "ordered-e"), (1, "ordered-a"), (2, "ordered-d"), (2, "ordered-b")]
    manifests = (
        "SELECT manifest ->> 'first', manifest ->> 'last' FROM model_versions WHERE experiment_id = %s ORDER BY number"
    )
    assert query(database_url, manifests, experiment_id)[1:] == [("ordered-c", "ordered-a"), ("ordered-d", "ordered-b")]


def test_a_decision_with_an_open_window_is_not_learned_from(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("open", arms=bandit())
    loop.decide("open", [{}] * 5)
    assert loop.train(experiment_id) is None
    assert query(database_url, ALL, experiment_id) == []


def test_a_deferred_decision_is_learned_from_only_after_its_activation(loop: Loop, database_url: str) -> None:
    from app.learning.rewards import activate

    experiment_id = loop.make("deferred", arms=bandit())
    shown, hidden = loop.decide("deferred", [{"defer_activation": True}] * 2)
    loop.reward([{"decision_id": decision["decision_id"], "value": 1.0} for decision in (shown, hidden)])
    activate(loop.runtime, loop.caller, shown["decision_id"])
    query(
        database_url,
        "UPDATE awaiting_outcome SET closes_at = clock_timestamp() WHERE experiment_id = %s",
        experiment_id,
    )
    assert loop.train(experiment_id).decisions == 1
    assert query(database_url, ALL, experiment_id) == [(shown["decision_id"],)]
    rewards = "SELECT reward FROM training_ledger WHERE decision_id = %s"
    assert query(database_url, rewards, shown["decision_id"]) == [(1.0,)]


def test_concurrent_rounds_learn_exactly_once(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("raced", arms=bandit())
    ids = {decision["decision_id"] for decision in loop.decide("raced", [{} for _ in range(400)])}
    loop.close_windows(experiment_id)

    def some_rounds(_: int) -> list[Any]:
        return [loop.train(experiment_id, LOOPWISE_ROUND_DECISIONS="25") for _ in range(30)]

    with ThreadPoolExecutor(4) as pool:
        done = [round_ for rounds in pool.map(some_rounds, range(4)) for round_ in rounds if round_]
    while round_ := loop.train(experiment_id, LOOPWISE_ROUND_DECISIONS="25"):
        done.append(round_)
    assert sum(round_.decisions for round_ in done) == 400
    learned = [row[0] for row in query(database_url, ALL, experiment_id)]
    assert (len(learned), set(learned)) == (400, ids)
    loop.runtime.snapshots.refresh()
    report = loop.audit("raced")
    assert report.ok, report.findings
    assert report.versions == 17


def test_a_decision_that_commits_late_is_still_learned(loop: Loop, database_url: str) -> None:
    """Its times are before those of learned decisions, so a moving timestamp would always skip it."""
    experiment_id = loop.make("slow-commit", arms=bandit())
    first, late, third = (decision["decision_id"] for decision in loop.decide("slow-commit", [{}] * 3))
    query(database_url, "CREATE TABLE aside AS SELECT * FROM decisions WHERE id = %s", late)
    query(database_url, "CREATE TABLE aside_waiting AS SELECT * FROM awaiting_outcome WHERE decision_id = %s", late)
    for statement in ("DELETE FROM decisions WHERE id = %s", "DELETE FROM awaiting_outcome WHERE decision_id = %s"):
        query(database_url, statement, late)
    loop.close_windows(experiment_id)
    assert loop.train(experiment_id).decisions == 2
    query(database_url, "INSERT INTO decisions SELECT * FROM aside; INSERT INTO awaiting_outcome TABLE aside_waiting")
    query(database_url, "INSERT INTO decision_ids SELECT id, experiment_id, decided_at FROM aside")
    loop.close_windows(experiment_id)
    assert loop.train(experiment_id).decisions == 1
    assert {row[0] for row in query(database_url, ALL, experiment_id)} == {first, late, third}
    assert loop.audit("slow-commit").ok


def test_a_late_reward_is_stored_and_marked_but_not_learned_from(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("late", arms=bandit())
    early, late = loop.decide("late", [{}] * 2)
    loop.reward([{"decision_id": early["decision_id"], "value": 1.0}])
    loop.close_windows(experiment_id)
    (receipt,) = loop.reward([{"decision_id": late["decision_id"], "value": 1.0}])
    assert receipt["late"] is True
    loop.train(experiment_id)
    learned = dict(
        query(database_url, "SELECT decision_id, reward FROM training_ledger WHERE experiment_id = %s", experiment_id)
    )
    assert learned == {early["decision_id"]: 1.0, late["decision_id"]: 0.0}
    assert query(database_url, "SELECT late FROM rewards WHERE decision_id = %s", late["decision_id"]) == [(True,)]
    assert loop.audit("late").ok


EVENTS = [
    {"reward_id": "x", "value": 0.1, "occurred_at": "2026-01-01T00:00:02Z"},
    {"reward_id": "y", "value": 0.3, "occurred_at": "2026-01-01T00:00:01Z"},
    {"reward_id": "z", "value": 0.2, "occurred_at": "2026-01-01T00:00:03Z"},
]


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("sum", 0.6), ("max", 0.3), ("mean", 0.2), ("first", 0.3), ("last", 0.2)]
)
def test_the_joined_reward_does_not_depend_on_the_order_of_arrival(
    loop: Loop, database_url: str, aggregation: str, expected: float
) -> None:
    reward = {"window_s": 600.0, "aggregation": aggregation, "default": 0.7}
    experiment_id = loop.make(f"joined-{aggregation}", arms=bandit(), reward=reward)
    orders = list(itertools.permutations(EVENTS))
    decided = loop.decide(f"joined-{aggregation}", [{} for _ in range(len(orders) + 1)])
    for decision, order in zip(decided, orders, strict=False):
        for event in order:
            loop.reward([event | {"decision_id": decision["decision_id"]}])
        loop.reward([{"decision_id": decision["decision_id"], "value": 1.0, "metric": "clicks"}])
    loop.close_windows(experiment_id)
    loop.train(experiment_id)
    learned = dict(
        query(database_url, "SELECT decision_id, reward FROM training_ledger WHERE experiment_id = %s", experiment_id)
    )
    values = [learned[decision["decision_id"]] for decision in decided]
    assert values == [pytest.approx(expected)] * len(orders) + [0.7]
    assert len(set(values[:-1])) == 1


def test_no_reward_in_time_is_missed_by_a_concurrent_round(loop: Loop, database_url: str) -> None:
    """Writers store rewards while rounds run. Every reward that the log marks as in time must be in the ledger."""
    experiment_id = loop.make("gate", arms=bandit(), reward={"window_s": 1.0, "max": 1e6})

    def write(number: int) -> None:
        for turn in range(12):
            decided = loop.decide("gate", [{"unit_id": f"{number}-{turn}-{n}"} for n in range(4)])
            for lap in range(12):
                loop.reward(
                    [
                        {"decision_id": decision["decision_id"], "value": 1.0, "reward_id": str(lap)}
                        for decision in decided
                    ]
                )

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        while not all(writer.done() for writer in writers):
            loop.train(experiment_id)
        for writer in writers:
            writer.result()
    loop.await_windows(experiment_id)
    loop.train(experiment_id)
    wrong = query(
        database_url,
        "SELECT l.decision_id, l.reward, count(r.*) FROM training_ledger l LEFT JOIN rewards r"
        " ON r.decision_id = l.decision_id AND NOT r.late WHERE l.experiment_id = %s"
        " GROUP BY 1, 2 HAVING l.reward <> count(r.*)",
        experiment_id,
    )
    assert wrong == []
    assert query(database_url, f"SELECT count(*) FROM ({ALL}) l", experiment_id) == [(192,)]
    assert loop.audit("gate").ok


def test_after_a_rollback_learning_continues_from_that_version(loop: Loop) -> None:
    from app.registry.versions import describe, rollback

    experiment_id = loop.make("back", arms=bandit())
    for _ in range(2):
        loop.more("back", experiment_id, 10)
    rollback(loop.runtime.engine, "back", "learned", 1, "worse", "test")
    assert loop.more("back", experiment_id, 10).number == 3
    (arm,) = describe(loop.runtime.engine, "back")["arms"]
    assert [(v["number"], v["parent"], v["examples"]) for v in arm["versions"]] == [
        (0, None, 0),
        (1, 0, 10),
        (2, 1, 20),
        (3, 1, 20),
    ]
    assert arm["serving"] == 3
    assert loop.audit("back").ok


def test_a_tampered_parent_stops_training_with_a_reason_and_loses_nothing(loop: Loop, database_url: str) -> None:
    from app.registry.versions import describe

    experiment_id = loop.learn("tampered")
    spoil = "UPDATE model_versions SET signature = %s WHERE experiment_id = %s AND number = 1 RETURNING 1"
    ((signature,),) = query(
        database_url, "SELECT signature FROM model_versions WHERE experiment_id = %s AND number = 1", experiment_id
    )
    query(database_url, spoil, "0" * 64, experiment_id)
    assert loop.more("tampered", experiment_id) is None
    (arm,) = describe(loop.runtime.engine, "tampered")["arms"]
    assert "was not signed" in arm["problem"]
    query(database_url, spoil, signature, experiment_id)
    assert loop.train(experiment_id).decisions == 40
    (arm,) = describe(loop.runtime.engine, "tampered")["arms"]
    assert (arm["problem"], arm["serving"]) == (None, 2)


def test_a_round_leaves_an_arm_to_the_process_that_trains_it(loop: Loop) -> None:
    from app.foundation.store.engine import transaction
    from app.learning.store.training import lock_lineage

    experiment_id = loop.make("elsewhere", arms=bandit())
    loop.decide("elsewhere", [{}] * 3)
    loop.close_windows(experiment_id)
    with transaction(loop.runtime.engine) as connection:
        assert lock_lineage(connection, experiment_id, "learned")
        assert loop.train(experiment_id) is None
    assert loop.train(experiment_id).decisions == 3


def test_a_round_of_an_arm_that_does_not_learn_settles_and_promotes_nothing(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("constant", arms=[{"key": "same", "share": 1.0, "policy": {"type": "uniform"}}])
    loop.decide("constant", [{}] * 3)
    loop.close_windows(experiment_id)
    done = loop.train(experiment_id, "same")
    assert (done.number, done.decisions, done.promoted, done.problems) == (None, 3, False, ())
    settled = "SELECT count(*) FROM outcomes WHERE experiment_id = %s"
    assert query(database_url, settled, experiment_id) == [(3,)]


def test_a_round_that_fails_half_way_changes_nothing(loop: Loop, database_url: str, monkeypatch: Any) -> None:
    from app.learning import training

    experiment_id = loop.make("halfway", arms=bandit())
    loop.decide("halfway", [{}] * 5)
    loop.close_windows(experiment_id)

    def fail(connection: Any, *_: Any) -> None:
        connection.execute(text("SELECT 1 / 0"))

    with monkeypatch.context() as patched:
        patched.setattr(training.training, "settle", fail)
        with pytest.raises(Exception, match="division by zero"):
            loop.train(experiment_id)
    assert query(database_url, ALL, experiment_id) == []
    assert loop.train(experiment_id).number == 1
