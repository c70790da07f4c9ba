"""What one unit may teach is bounded, in every round and rebuild, and the log accounts for what is held out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app.design import experiments
from app.foundation.store.engine import transaction
from app.learning import refit
from app.learning.rebuild import rebuild_lineage
from app.people import erasure
from app.registry.versions import describe
from tests.lab import Lab
from tests.service import bandit, query

AUTO = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit"}}]
BEST, WORST = "b", "c"


class Street:
    """An experiment in which b is right for honest people, who come once, and a bot that says that c is."""

    def __init__(self, lab: Lab, key: str, seed: int = 1, **fields: Any) -> None:
        self.lab, self.key, self.rng = lab, key, np.random.default_rng(seed)
        self.people: Iterator[int] = iter(range(10**6))
        self.id = lab.make(key, **fields)

    def value(self, unit: str, action: str) -> float:
        """What a unit reports for an action."""
        if unit == "bot":
            return float(action == WORST)
        return float(self.rng.random() < {BEST: 0.75, WORST: 0.05}.get(action, 0.3))

    def play(self, honest: int, bot: int) -> float:
        """One round; returns the share of the honest people who got what is right."""
        units = [f"p{next(self.people)}" for _ in range(honest)] + ["bot"] * bot
        self.rng.shuffle(units)
        bodies = [{"unit_id": unit, "context": {"hour": int(self.rng.integers(24))}} for unit in units]
        answers = self.lab.play(
            self.key, bodies, lambda body, answer: self.value(body["unit_id"], answer["action"]["id"])
        )
        for experiment_id, arm in refit.due_arms(self.lab.runtime.engine):
            refit.refit(self.lab.runtime.engine, self.lab.settings, experiment_id, arm)
        self.lab.runtime.snapshots.refresh()
        pairs = zip(units, answers, strict=True)
        right = [answer["action"]["id"] == BEST for unit, answer in pairs if unit != "bot"]
        return float(np.mean(right)) if right else 0.0

    def learned(self) -> dict[bool, int]:
        """Decisions that the serving generation of the ledger learned: of the bot (True), of people (False)."""
        statement = """
            SELECT d.unit_id = 'bot', count(*) FROM training_ledger l JOIN lineages g USING (experiment_id, arm, generation)
            JOIN decisions d ON d.id = l.decision_id WHERE l.experiment_id = %s AND l.version_id > 0 GROUP BY 1
        """
        return dict(query(self.lab.database_url, statement, self.id))

    def held(self) -> dict[str, int]:
        """Decisions that are held out, by rule."""
        statement = "SELECT rule, count(*) FROM held_out WHERE experiment_id = %s GROUP BY 1"
        return dict(query(self.lab.database_url, statement, self.id))

    def versions(self) -> list[dict[str, Any]]:
        """Every version of the arm."""
        return list(describe(self.lab.runtime.engine, self.key)["arms"][0]["versions"])

    def rebuild(self) -> Any:
        """Learn the arm again from nothing."""
        with transaction(self.lab.runtime.engine) as connection:
            done = rebuild_lineage(connection, self.lab.settings, self.id, "learned", reason="test")
        self.lab.runtime.snapshots.refresh()
        return done


@pytest.mark.parametrize(("key", "arms"), [("auto-bot", AUTO), ("vw-bot", bandit(floor=0.02))])
def test_a_bot_with_three_thousand_decisions_leaves_people_what_is_right(
    lab: Lab, key: str, arms: list[dict[str, Any]]
) -> None:
    street = Street(lab, key, arms=arms)
    for _ in range(3):
        street.play(100, 0)
    for _ in range(10):
        street.play(30, 300)
    right = street.play(300, 0)
    assert right >= 0.9, right
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
    assert street.held()["unit_share"] == 180
    lab.change("opened", safety={"unit_share": 1.0})
    street.play(100, 200)
    assert street.held()["unit_share"] == 180 and street.learned()[True] == 220
    assert experiments.get(lab.runtime.engine, "opened").config["safety"]["unit_share"] == 1.0
