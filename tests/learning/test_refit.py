"""Loopwise's own learners: rounds, refits from nothing, rollback, erasure, retention, and an audit that repeats all of it."""

import random
from typing import Any

import pytest

from app.design.store import changes
from app.design.store.changes import Change
from app.foundation.errors import NotFound, Unprocessable
from app.foundation.store.engine import transaction
from app.learning import refit
from app.learning.rebuild import rebuild_lineage
from app.people import erasure
from app.registry import versions as models
from app.registry.store.models import left_out
from app.registry.versions import describe
from tests.service import Loop, query, settings

AUTO = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit"}}]
THOMPSON = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit", "algorithm": "thompson"}}]


def play(loop: Loop, key: str, experiment_id: int, count: int, seed: int) -> Any:
    """A round in a world where action b pays for incomes above the middle, and a below."""
    random_ = random.Random(seed)
    bodies = [
        {
            "unit_id": f"u{random_.randrange(30)}",
            "context": {"income": random_.gauss(52_000, 9_000), "plan": random_.choice(["free", "pro"])},
        }
        for _ in range(count)
    ]
    decided = loop.decide(key, bodies)
    loop.reward(
        [
            {
                "decision_id": decision["decision_id"],
                "value": float((decision["action"]["id"] == "b") == (body["context"]["income"] > 52_000)),
            }
            for body, decision in zip(bodies, decided, strict=True)
        ]
    )
    loop.close_windows(experiment_id)
    done = loop.train(experiment_id)
    loop.runtime.snapshots.refresh()
    return done


def again(loop: Loop, experiment_id: int, *, asked: bool = False) -> refit.Refitted | None:
    if asked:
        (key,) = query(loop.database_url, "SELECT key FROM experiments WHERE id = %s", experiment_id)[0]
        refit.ask(loop.runtime.engine, key, "learned", "test")
    done = refit.refit(loop.runtime.engine, settings(loop.database_url), experiment_id, "learned")
    loop.runtime.snapshots.refresh()
    return done


def versions(loop: Loop, key: str) -> list[dict[str, Any]]:
    return list(describe(loop.runtime.engine, key)["arms"][0]["versions"])


def chance_of_b(loop: Loop, key: str, income: float) -> float:
    (answer,) = loop.decide(key, [{"unit_id": "probe", "context": {"income": income, "plan": "pro"}}])
    return float({item["id"]: item["probability"] for item in answer["ranking"]}["b"])


@pytest.mark.parametrize("arms", [AUTO, THOMPSON], ids=["auto", "thompson"])
def test_a_learner_is_refitted_as_its_log_grows_and_everything_is_recomputed(loop: Loop, arms: Any) -> None:
    key = f"grown-{arms[0]['policy'].get('algorithm', 'auto')}"
    made = loop.make(key, arms=arms)
    for number in range(6):
        play(loop, key, made, 60, number)
        if (made, "learned") in refit.due_arms(loop.runtime.engine):
            done = again(loop, made)
            assert done is not None and done.promoted and done.decisions == 60 * (number + 1)
    listed = versions(loop, key)
    kinds = [version["kind"] for version in listed]
    assert kinds[:4] == ["initial", "incremental", "incremental", "refit"]  # the first round is a fit already
    assert kinds.count("incremental") == 6 and kinds.count("refit") == 5
    assert [v["examples"] for v in listed if v["kind"] == "refit"] == [120, 180, 240, 300, 360]
    assert chance_of_b(loop, key, 70_000.0) > 0.9 and chance_of_b(loop, key, 35_000.0) < 0.1
    race = listed[-1]["manifest"]["learner"]
    assert race["served"] in {candidate["name"] for candidate in race["candidates"]}
    assert race["window"] == 360 and not race["wants_fit"]
    report = loop.audit(key)
    assert report.ok, report.findings
    assert (report.ledger_rows, report.versions, report.versions_differ) == (360, len(listed), 0)


def test_a_refit_happens_when_it_is_due_or_when_a_person_asks(loop: Loop) -> None:
    made = loop.make("asked", arms=AUTO)
    assert again(loop, made, asked=True) is None  # nothing was learned yet
    play(loop, "asked", made, 100, 1)
    assert refit.due_arms(loop.runtime.engine) == [] and again(loop, made) is None
    done = again(loop, made, asked=True)
    assert done is not None and (done.number, done.decisions) == (2, 100)
    assert loop.audit("asked").ok


def test_after_a_rollback_a_refit_learns_only_what_the_restored_version_had_learned(loop: Loop) -> None:
    made = loop.make("back", arms=AUTO)
    for number in range(3):
        play(loop, "back", made, 50, number)
    models.rollback(loop.runtime.engine, "back", "learned", 1, "test")
    loop.runtime.snapshots.refresh()
    done = again(loop, made, asked=True)
    assert done is not None and done.decisions == 50
    play(loop, "back", made, 50, 9)
    done = again(loop, made, asked=True)
    assert done is not None and done.decisions == 100
    report = loop.audit("back")
    assert report.ok, report.findings


def test_an_erased_unit_leaves_no_trace_in_refits(loop: Loop) -> None:
    made = loop.make("gone", arms=AUTO)
    for number in range(3):
        play(loop, "gone", made, 80, number)
    again(loop, made, asked=True)
    mine = query(loop.database_url, "SELECT count(*) FROM decisions WHERE unit_id = 'u3' AND experiment_id = %s", made)[
        0
    ][0]
    assert mine > 0
    asked = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "u3")
    assert erasure.run_waiting(loop.runtime.engine, loop.settings) == [asked.erasure_id]
    loop.runtime.snapshots.refresh()
    listed = versions(loop, "gone")
    assert listed[-1]["kind"] == "relearned" and listed[-1]["examples"] == 240 - mine
    refits = [version for version in listed if version["kind"] == "refit"]
    assert refits and all(version["erased_at"] and version["manifest"]["relearned"] for version in refits)
    play(loop, "gone", made, 80, 7)
    done = again(loop, made, asked=True)
    assert done is not None and done.decisions == 320 - mine
    report = loop.audit("gone")
    assert report.ok, report.findings


def test_a_rebuild_learns_what_rounds_and_refits_learned(loop: Loop) -> None:
    made = loop.make("whole", arms=AUTO)
    for number in range(2):
        play(loop, "whole", made, 80, number)
        again(loop, made, asked=True)
    with transaction(loop.runtime.engine) as connection:
        rebuilt = rebuild_lineage(connection, loop.settings, made, "learned", reason="test")
    assert rebuilt.promoted and rebuilt.decisions == 160
    loop.runtime.snapshots.refresh()
    play(loop, "whole", made, 40, 5)
    assert again(loop, made, asked=True) is not None
    report = loop.audit("whole")
    assert report.ok, report.findings
    assert report.ledger_rows == 200


def test_a_refit_goes_on_without_what_retention_has_stripped(loop: Loop, database_url: str) -> None:
    made = loop.make("stripped", arms=AUTO)
    for number in range(3):
        play(loop, "stripped", made, 60, number)
    query(
        database_url,
        "UPDATE decisions SET unit_id = '', context = '{}', erased_at = clock_timestamp() WHERE id IN"
        " (SELECT id FROM decisions WHERE experiment_id = %s ORDER BY decided_at LIMIT 60)",
        made,
    )
    done = again(loop, made, asked=True)
    assert done is not None and done.decisions == 120
    last = versions(loop, "stripped")[-1]
    assert (last["manifest"]["earlier"], last["examples"]) == (60, 180)


def test_the_floor_falls_with_what_is_learned_and_is_in_every_propensity(loop: Loop) -> None:
    policy = {"type": "bandit", "exploration_floor": 0.02, "exploration_floor_start": 0.2}
    made = loop.make("falling", arms=[{"key": "learned", "share": 1.0, "policy": policy}])
    least = []
    for number in range(4):
        play(loop, "falling", made, 100, number)
        learned = 100.0 * (number + 1) + number  # the probes, too
        floor = 0.02 + 0.18 / (1.0 + learned / 100.0)
        answer = loop.decide("falling", [{"unit_id": "probe", "context": {"income": 90_000.0}}])[0]
        lowest = min(item["probability"] for item in answer["ranking"])
        assert lowest >= floor / len(answer["ranking"]) - 1e-12
        least.append(lowest)
    assert least[-1] < least[0]
    assert loop.audit("falling").ok


def test_features_that_are_left_out_are_counted(loop: Loop) -> None:
    made = loop.make("counted", arms=AUTO)
    bodies = [{"context": {"account_id": 10**8 + 7919 * n, "same": 3, "x": n % 7}} for n in range(120)]
    loop.decide("counted", bodies)
    loop.close_windows(made)
    loop.train(made)
    with transaction(loop.runtime.engine) as connection:
        found = [tuple(row) for row in left_out(connection) if row.experiment == "counted"]
    assert found == [("counted", "learned", "constant", 1), ("counted", "learned", "timestamp_like", 1)]


def test_a_person_pins_what_decides_and_gives_the_choice_back(loop: Loop) -> None:
    made = loop.make("pinned", arms=AUTO)
    engine = loop.runtime.engine
    with pytest.raises(Unprocessable):  # nothing was learned, so nothing races
        refit.pin(engine, "pinned", "learned", "ca", "test")
    for number in range(3):
        play(loop, "pinned", made, 60, number)
        again(loop, made)
    served = versions(loop, "pinned")[-1]["manifest"]["learner"]["served"]
    wanted = "kernel" if served == "linear" else "linear"
    refit.pin(engine, "pinned", "learned", wanted, "test")
    assert (made, "learned") in refit.due_arms(engine)
    done = again(loop, made)
    assert done is not None and done.promoted and done.decisions == 180
    assert (made, "learned") not in refit.due_arms(engine)
    play(loop, "pinned", made, 10, 7)  # a round keeps it
    asked = erasure.ask(engine, loop.settings, loop.caller, "u3")
    assert erasure.run_waiting(engine, loop.settings) == [asked.erasure_id]  # and so does an erasure
    last = versions(loop, "pinned")[-1]
    assert last["kind"] == "relearned"
    assert (last["manifest"]["learner"]["served"], last["manifest"]["learner"]["pinned"]) == (wanted, wanted)
    assert loop.audit("pinned").ok
    refit.pin(engine, "pinned", "learned", "", "test")
    assert again(loop, made) is not None
    assert versions(loop, "pinned")[-1]["manifest"]["learner"]["pinned"] is None
    assert loop.audit("pinned").ok
    kinds = [change.kind for change in _changes(loop, made)]
    assert kinds.count("model_pinned") == 2
    with pytest.raises(Unprocessable):
        refit.pin(engine, "pinned", "learned", "magic", "test")
    with pytest.raises(NotFound):
        refit.pin(engine, "pinned", "ghost", "ca", "test")


def _changes(loop: Loop, experiment_id: int) -> list[Change]:
    with transaction(loop.runtime.engine) as connection:
        return changes.newest(connection, experiment_id=experiment_id, most=50)


def test_lists_are_learned_refitted_and_recomputed_position_by_position(loop: Loop) -> None:
    made, chance = loop.make("shelves", arms=AUTO, actions=[{"id": name} for name in "abcd"]), random.Random(3)
    for _ in range(3):
        bodies = [{"unit_id": f"r{n}", "context": {"age": chance.gauss(40, 12)}, "slots": 2} for n in range(80)]
        lists = loop.decide("shelves", bodies)
        pays = ["cd" if body["context"]["age"] > 40 else "ab" for body in bodies]
        loop.reward(
            [
                {"decision_id": position["decision_id"], "value": float(position["action"]["id"] in good)}
                for answer, good in zip(lists, pays, strict=True)
                for position in answer["positions"]
            ]
        )
        loop.close_windows(made)
        loop.train(made)
        again(loop, made)
    found = loop.decide("shelves", [{"unit_id": f"new{n}", "context": {"age": 60.0}, "slots": 2} for n in range(20)])
    chosen = [position["action"]["id"] for answer in found for position in answer["positions"]]
    assert sum(name in "cd" for name in chosen) > 25
    assert [version["kind"] for version in versions(loop, "shelves")].count("refit") >= 2
    report = loop.audit("shelves")
    assert report.ok and report.decisions == 2 * (3 * 80 + 20)
