"""An erasure leaves an arm its versions: learned again without the unit, they can serve, and the audit replays them."""

from typing import Any

import pytest

from app.people import erasure
from app.registry import signed_bytes as model_bytes
from app.registry.store import models
from app.registry.versions import rollback
from bandits.policy import parse_policy
from tests.learning.test_refit import AUTO, again, play, versions
from tests.people.test_erasure import rounds, serving, without_the_unit
from tests.service import Loop, bandit, query

ROUNDS = 6


def erase(loop: Loop, key: str, unit: str) -> dict[str, Any]:
    """Erase a unit; returns what the receipt says of an experiment's arm."""
    asked = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, unit)
    assert erasure.run_waiting(loop.runtime.engine, loop.settings) == [asked.erasure_id]
    loop.runtime.snapshots.refresh()
    receipt = erasure.look_up(loop.runtime.engine, loop.caller, asked.erasure_id).as_json()["receipt"]
    (model,) = (model for model in receipt["models"] if model["experiment"] == key)
    return dict(model)


def meet(loop: Loop, key: str, made: int, unit: str) -> None:
    """A round in which the unit takes part for the first time."""
    bodies = [{"unit_id": unit if n % 4 == 0 else f"v{n}", "context": {"n": n % 3}} for n in range(20)]
    decided = loop.decide(key, bodies)
    loop.reward([{"decision_id": d["decision_id"], "value": float(d["action"]["id"] == "b")} for d in decided])
    loop.close_windows(made)
    loop.train(made)
    loop.runtime.snapshots.refresh()


def test_versions_from_before_the_unit_stay_and_later_ones_never_saw_it(loop: Loop) -> None:
    made = loop.make("history", arms=bandit(), safety={"unit_share": 1.0})
    meet(loop, "history", made, "early")
    meet(loop, "history", made, "early")
    before = versions(loop, "history")
    rounds(loop, made, "history", ROUNDS)
    old = versions(loop, "history")
    model = erase(loop, "history", "gone-history")
    assert model["relearned_versions"] == model["forgotten_versions"] == list(range(3, 3 + ROUNDS))
    assert model["new"]["version"] == 3 + ROUNDS
    listed = versions(loop, "history")
    assert listed[:3] == [version | {"serving": False} for version in before]
    for version, was in zip(listed[3:-1], old[3:], strict=True):
        assert version["sha256"] != was["sha256"] and version["examples"] == was["examples"] - 8 * (
            version["number"] - 2
        )
    expected = model_bytes.pack(without_the_unit(loop, made), loop.settings.secret_key, made, "learned", 0).sha256
    assert listed[-1]["sha256"] == listed[-2]["sha256"] == expected == serving(loop, made).sha256
    report = loop.audit("history")
    assert report.ok and report.versions_erased == 0, report.lines()


@pytest.mark.parametrize("arms", [AUTO, bandit()], ids=["auto", "vowpal wabbit"])
def test_with_an_erasure_after_each_round_every_version_can_be_replayed_and_serve(loop: Loop, arms: Any) -> None:
    key = f"daily-{parse_policy(arms[0]['policy']).algorithm}"  # type: ignore[union-attr]
    made = loop.make(key, arms=arms)
    for number in range(5):
        play(loop, key, made, 60, number)
        again(loop, made)
        erase(loop, key, f"u{number}")
    listed = versions(loop, key)
    assert not [version for version in listed if version["erased_at"] and "relearned" not in version["manifest"]]
    report = loop.audit(key)
    assert report.ok and report.versions_erased == 0, report.lines()
    middle = listed[len(listed) // 2]
    rollback(loop.runtime.engine, key, "learned", middle["number"], "the world changed back")
    loop.runtime.snapshots.refresh()
    (decided,) = loop.decide(key, [{"unit_id": "later", "context": {"income": 50_000.0, "plan": "pro"}}])
    assert query(loop.database_url, "SELECT policy_sha256 FROM decisions WHERE id = %s", decided["decision_id"]) == [
        (middle["sha256"],)
    ]
    play(loop, key, made, 30, 99)
    assert loop.audit(key).findings == [], loop.audit(key).lines()


def test_a_rebuilt_line_is_learned_again_too(loop: Loop) -> None:
    """A rebuild learns all rounds at once; its borders stay, and so does the line behind it."""
    made = loop.make("rebuilt-line", arms=bandit())
    rounds(loop, made, "rebuilt-line", 3)
    again(loop, made, asked=True)
    rounds(loop, made, "rebuilt-line", 1)
    assert [version["kind"] for version in versions(loop, "rebuilt-line")[4:]] == ["rebuild", "incremental"]
    erase(loop, "rebuilt-line", "gone-rebuilt-line")
    listed = versions(loop, "rebuilt-line")
    assert [version["examples"] for version in listed] == [0, 32, 64, 96, 96, 128, 128]
    assert listed[3]["sha256"] == listed[4]["sha256"]
    report = loop.audit("rebuilt-line")
    assert report.ok and report.versions_erased == 0, report.lines()


def test_versions_that_an_earlier_erasure_left_without_bytes_come_back(loop: Loop) -> None:
    made = loop.make("heals", arms=bandit())
    rounds(loop, made, "heals", 4)
    erase(loop, "heals", "gone-heals")
    whole = versions(loop, "heals")
    query(
        loop.database_url,
        "UPDATE model_versions SET model = '', manifest = manifest - 'relearned'"
        " WHERE experiment_id = %s AND number BETWEEN 1 AND 4",
        made,
    )
    assert loop.audit("heals").versions_erased == 4
    meet(loop, "heals", made, "another")
    erase(loop, "heals", "another")
    assert [version["sha256"] for version in versions(loop, "heals")[:5]] == [
        version["sha256"] for version in whole[:5]
    ]
    report = loop.audit("heals")
    assert report.ok and report.versions_erased == 0, report.lines()


def test_a_unit_that_was_all_that_an_arm_learned_leaves_it_untrained(loop: Loop) -> None:
    made = loop.make("only-one", arms=bandit())
    decided = loop.decide("only-one", [{"unit_id": "only", "context": {"n": 1}} for _ in range(10)])
    loop.reward([{"decision_id": d["decision_id"], "value": 1.0} for d in decided])
    loop.close_windows(made)
    loop.train(made)
    erase(loop, "only-one", "only")
    assert serving(loop, made).examples == 0
    (answer,) = loop.decide("only-one", [{"unit_id": "next"}])
    assert [item["probability"] for item in answer["ranking"]] == pytest.approx([1 / 3] * 3)
    assert loop.audit("only-one").ok
    assert [version.forgotten for version in stored(loop, made)] == [False, False, False]


def test_of_a_very_long_line_the_newest_versions_come_back(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before the refit that begins them are forgotten."""
    made = loop.make("long", arms=AUTO)
    for number in range(4):
        play(loop, "long", made, 60, number)
        again(loop, made, asked=True)
    monkeypatch.setattr("app.learning.relearn.MOST", 4)
    model = erase(loop, "long", "u3")
    assert [version["kind"] for version in versions(loop, "long")] == [
        "initial",
        *["incremental", "refit"] * 4,
        "relearned",
    ]
    assert (model["forgotten_versions"], model["relearned_versions"]) == (list(range(1, 9)), [4, 5, 6, 7, 8])
    report = loop.audit("long")
    assert report.ok and report.versions_erased == 3, report.lines()


def stored(loop: Loop, made: int) -> list[models.VersionInfo]:
    with loop.runtime.engine.connect() as connection:
        return models.of_experiment(connection, made)
