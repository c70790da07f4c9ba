"""What one unit may teach is bounded, in every round and rebuild, and the log accounts for what is held out."""

from typing import Any

import pytest

from app.design import experiments
from app.people import erasure
from tests.lab import Lab
from tests.learning.street import AUTO, Street
from tests.service import bandit


@pytest.mark.parametrize(("key", "arms"), [("auto-bot", AUTO), ("vw-bot", bandit(floor=0.02))])
def test_a_bot_with_three_thousand_decisions_leaves_people_what_is_right(
    lab: Lab, key: str, arms: list[dict[str, Any]]
) -> None:
    street = Street(lab, key, arms=arms)
    for _ in range(3):
        street.play(100, 0)
    meanwhile = [street.play(15, 150) for _ in range(20)]
    right = street.play(300, 0)
    assert right >= 0.9 and sum(meanwhile) / len(meanwhile) >= 0.85, (right, meanwhile)
    learned, held = street.learned(), street.held()
    assert learned[False] == 900 and learned[True] + held["unit_share"] == 3000
    assert learned[True] <= 0.05 * (learned[True] + 600) + 20
    newest = [version for version in street.versions() if version["kind"] == "incremental"]
    assert newest[-2]["manifest"]["held_out"]["unit_share"] == 0.05
    assert sum(v["manifest"]["held_out"]["decisions"].get("unit_share", 0) for v in newest) == held["unit_share"]
    assert newest[-1]["manifest"]["held_out"]["decisions"] == {}
    report = lab.audit(key)
    assert report.ok, report.findings


def test_without_the_bound_the_bot_decides(lab: Lab) -> None:
    """The test above is only worth something in a world where the bot would win."""
    street = Street(lab, "no-bound", arms=AUTO, safety={"unit_share": 1.0})
    for _ in range(3):
        street.play(100, 0)
    for _ in range(10):
        street.play(30, 300)
    assert street.play(300, 0) < 0.5
    assert street.held() == {}


def test_a_bot_that_came_first_is_bounded_by_the_next_rebuild(lab: Lab) -> None:
    street = Street(lab, "bot-first", arms=AUTO)
    street.play(0, 1000)
    assert street.held() == {}, "it was the only unit"
    for _ in range(2):
        street.play(150, 50)
    assert street.learned()[True] == 1000
    done = street.rebuild()
    assert done.decisions == sum(street.learned().values()) and street.learned()[True] == 20
    assert street.held() == {"unit_share": 1080}
    assert street.versions()[-1]["manifest"]["held_out"]["decisions"] == {"unit_share": 980}
    assert street.play(300, 0) >= 0.9
    before = [(v["number"], v["sha256"]) for v in street.versions() if v["kind"] == "rebuild"]
    assert street.rebuild().new_sha256 != before[-1][1], "it learned a round more"
    report = lab.audit("bot-first")
    assert report.ok, report.findings


def test_an_erasure_takes_what_is_held_out_with_it(lab: Lab) -> None:
    street = Street(lab, "bot-gone", arms=bandit())
    street.play(100, 300)
    street.play(100, 300)
    assert street.held()["unit_share"] > 500
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, "bot")
    erasure.run_waiting(lab.runtime.engine, lab.settings)
    assert street.held() == {} and street.learned() == {False: 200}
    assert lab.audit("bot-gone").ok


def test_the_bound_may_change_while_the_experiment_runs(lab: Lab) -> None:
    street = Street(lab, "opened", arms=bandit())
    street.play(100, 200)
    assert street.held()["unit_share"] == 195
    lab.change("opened", safety={"unit_share": 1.0})
    street.play(100, 200)
    assert street.held()["unit_share"] == 195 and street.learned()[True] == 205
    assert experiments.get(lab.runtime.engine, "opened").config["safety"]["unit_share"] == 1.0
