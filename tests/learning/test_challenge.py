"""A challenger serves only if it earns more; it is learned from the change on, or from the whole log, and can be repeated."""

from typing import Any

import numpy as np
import pytest

from app.design import history
from app.foundation.store.engine import transaction
from app.learning import challenge, refit
from app.learning.rebuild import rebuild_lineage
from app.learning.store import challenges
from app.people import erasure
from app.registry.versions import describe
from tests.lab import Lab
from tests.learning.street import AUTO
from tests.page_client import Browser
from tests.service import bandit, query

UNIFORM_TOO = {"key": "even", "share": 0.3, "policy": {"type": "uniform"}}


class Turning:
    """A world whose best action depends on the hour's half, and may turn over."""

    def __init__(self, lab: Lab, key: str, arms: list[dict[str, Any]], **fields: Any) -> None:
        self.lab, self.key, self.turned = lab, key, False
        self.id = lab.make(key, arms=arms, **fields)
        self.rng = np.random.default_rng(5)
        self._count = 0

    def play(self, rounds: int, size: int = 100) -> float:
        """Some rounds; returns the learning arm's share of right actions in the last one."""
        right: list[bool] = []
        for _ in range(rounds):
            bodies = [{"unit_id": f"v{self._count + n}", "context": {"half": "ab"[n % 2]}} for n in range(size)]
            self._count += size
            answers = self.lab.play(self.key, bodies, self.value)
            right = [
                self.best(body) == answer["action"]["id"]
                for body, answer in zip(bodies, answers, strict=True)
                if answer["arm"] == "learned"
            ]
        return sum(right) / len(right)

    def best(self, body: dict[str, Any]) -> str:
        """The action that pays."""
        return {"a": "ab", "b": "bc"}[body["context"]["half"]][self.turned]

    def value(self, body: dict[str, Any], answer: dict[str, Any]) -> float:
        """One reward."""
        return float(self.rng.random() < (0.8 if self.best(body) == answer["action"]["id"] else 0.1))

    def ask(self) -> None:
        """Say that the world changed now."""
        (at,) = query(self.lab.database_url, "SELECT clock_timestamp()")[0]
        with transaction(self.lab.runtime.engine) as connection:
            assert challenges.ask(connection, self.id, "learned", at)

    def challenge(self) -> challenge.Challenged:
        """Try a challenger."""
        done = challenge.challenge(self.lab.runtime.engine, self.lab.settings, self.id, "learned")
        assert done is not None
        self.lab.runtime.snapshots.refresh()
        return done

    def due(self) -> bool:
        """Whether a challenger is due."""
        return (self.id, "learned") in challenge.due_arms(self.lab.runtime.engine)

    def newest(self) -> dict[str, Any]:
        """The newest version."""
        return dict(describe(self.lab.runtime.engine, self.key)["arms"][0]["versions"][-1])


@pytest.mark.parametrize("algorithm", ["epsilon_greedy", "softmax"])
def test_after_a_change_a_challenger_learns_what_came_since_and_wins(lab: Lab, algorithm: str, viewer: Browser) -> None:
    world = Turning(lab, f"turns-{algorithm}", [*_learning(0.7, algorithm), UNIFORM_TOO])
    world.play(8, 1000)
    world.turned = True
    world.ask()
    assert not world.due(), "too few decisions since then"
    before = world.play(5)
    assert world.due()
    done = world.challenge()
    assert done.promoted and done.score.wins and not world.due()
    newest = world.newest()
    assert (newest["kind"], newest["serving"]) == ("challenger", True)
    assert newest["manifest"]["since"] and newest["manifest"]["decisions"] == done.decisions < 400
    page = " ".join(viewer.get(f"/admin/experiments/{world.key}/policy").text.split())
    assert "from nothing, and better on the newest" in page and "only what was decided since" in page
    assert "tried a new model against the one that decided" in viewer.get(f"/admin/experiments/{world.key}/log").text
    after = world.play(8)
    assert after > before + 0.2
    kinds = [line.change.kind for line in history.newest(lab.runtime.engine, experiment_key=world.key).lines]
    assert kinds[0] == "challenger"
    report = lab.audit(world.key)
    assert report.ok, report.findings
    with transaction(lab.runtime.engine) as connection:
        rebuilt = rebuild_lineage(connection, lab.settings, world.id, "learned", reason="test")
    assert rebuilt.decisions < 1000, "what came before the change stays forgotten"
    lab.runtime.snapshots.refresh()
    assert lab.audit(world.key).ok


def test_an_erasure_reaches_a_challenger(lab: Lab) -> None:
    world = Turning(lab, "turns-erased", [*_learning(0.7), UNIFORM_TOO])
    world.play(8, 1000)
    world.turned = True
    world.ask()
    world.play(5)
    assert world.challenge().promoted
    sha256 = world.newest()["sha256"]
    world.play(1)
    gone = query(
        lab.database_url,
        "SELECT unit_id FROM decisions WHERE experiment_id = %s AND arm = 'learned' AND decided_at >= "
        "(SELECT (manifest->>'since')::timestamptz FROM model_versions WHERE sha256 = %s) ORDER BY decided_at LIMIT 1",
        world.id,
        sha256,
    )[0][0]
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, gone)
    erasure.run_waiting(lab.runtime.engine, lab.settings)
    versions = describe(lab.runtime.engine, world.key)["arms"][0]["versions"]
    (again,) = (version for version in versions if version["kind"] == "challenger")
    assert again["sha256"] != sha256 and again["manifest"]["relearned"]
    report = lab.audit(world.key)
    assert report.ok, report.findings


def test_without_a_change_a_challenger_after_one_does_not_serve(lab: Lab) -> None:
    world = Turning(lab, "stays", [*_learning(0.7), UNIFORM_TOO])
    world.play(12)
    serving = world.newest()["number"]
    world.ask()
    world.play(4)
    done = world.challenge()
    assert not done.promoted and done.number is None
    assert world.newest()["kind"] == "incremental" and world.newest()["number"] == serving + 4
    assert not world.due(), "it is tried again with twice as many"
    world.play(3)
    assert world.due()
    (line, *_) = history.newest(lab.runtime.engine, experiment_key="stays").lines
    assert line.change.kind == "challenger" and line.change.after["won"] is False


@pytest.mark.parametrize(("key", "arms"), [("weekly-auto", AUTO), ("weekly-vw", bandit())])
def test_by_the_calendar_a_challenger_is_tried_once_a_week(lab: Lab, key: str, arms: list[dict[str, Any]]) -> None:
    world = Turning(lab, key, arms)
    world.play(6)
    for experiment_id, arm in refit.due_arms(lab.runtime.engine):
        refit.refit(lab.runtime.engine, lab.settings, experiment_id, arm)
    assert not world.due()
    query(
        lab.database_url, "UPDATE experiments SET started_at = started_at - interval '8 days' WHERE id = %s", world.id
    )
    assert world.due()
    done = world.challenge()
    assert done.score.rows > 0 and done.promoted == done.score.wins
    assert not world.due()
    query(lab.database_url, "UPDATE lineages SET challenged_at = challenged_at - interval '8 days'")
    assert world.due()
    lab.change(key, safety={"challenge_every_s": 30 * 86_400.0})
    assert not world.due()
    lab.change(key, safety={"challenge_every_s": 86_400.0})
    assert world.due()
    lab.change(key, safety={"challenge": False})
    assert not world.due()
    assert lab.audit(key).ok


def _learning(share: float, algorithm: str = "epsilon_greedy") -> list[dict[str, Any]]:
    return [arm | {"share": share} for arm in bandit(algorithm, floor=0.1)]
