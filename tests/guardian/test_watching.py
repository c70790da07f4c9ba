"""What goes wrong is noticed, told and acted on; what does not raises nothing. The log stays right through all of it."""

from typing import Any

import numpy as np
import pytest

from app.design import history
from app.foundation.errors import Conflict, NotFound
from app.guardian import incidents
from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from app.reporting import home
from app.verification.audit import audit_experiment
from tests.guardian.world import TURNED, World
from tests.lab import Lab, arm
from tests.service import query


def _arm(lab: Lab, key: str, name: str) -> dict[str, Any]:
    config = lab.runtime.snapshots.refresh().experiments[key].config
    return next(spec.model_dump(mode="json") for spec in config.arms if spec.key == name)


def test_a_world_that_turns_is_announced_and_learned_again(lab: Lab) -> None:
    world = World(lab, "flip", 1)
    world.turn(12)
    before = np.mean([world.turn()["learned"] for _ in range(3)])
    assert before > 0.6 and world.incidents() == []
    world.best = TURNED
    world.turn(2)
    (incident,) = world.incidents()
    assert (incident.kind, incident.arm, [action.code for action in incident.actions]) == (
        "value_fell",
        "learned",
        ["relearn"],
    )
    assert incident.before is not None and incident.after is not None and incident.after < 0.3 and incident.before > 0.5
    assert "learned earned" in incident.text and incident.closed_at is None
    (badge,) = [badge for badge in home.badges_of(lab.runtime.engine, "flip") if badge.tab == "guardian"]
    assert "learned earned" in badge.text
    world.turn(5)
    after = np.mean([world.turn()["learned"] for _ in range(3)])
    assert after > 0.9 * before, "learned again within 700 decisions"
    world.turn(5)
    (incident,) = world.incidents()
    assert incident.closed_at is not None and incident.actions[-1].code == "recovered"
    assert not [badge for badge in home.badges_of(lab.runtime.engine, "flip") if badge.tab == "guardian"]
    assert audit_experiment(lab.runtime.engine, lab.settings, "flip").ok


def test_an_arm_that_stays_behind_falls_back_and_comes_back(lab: Lab) -> None:
    world = World(lab, "broken", 2)
    world.turn(10)
    plain = world.reward
    # A release breaks the page that shows what this arm chose: whatever it is, few see it.
    world.reward = lambda mood, answer: (  # type: ignore[method-assign]
        plain(mood, answer) if answer["arm"] == "control" else float(world.rng.random() < 0.05)
    )
    for _ in range(20):
        world.turn()
        if _arm(lab, "broken", "learned").get("fallen_back"):
            break
    behind, fell = world.incidents()
    assert (behind.kind, fell.kind) == ("behind_fallback", "value_fell")
    assert [action.code for action in behind.actions] == ["fell_back"] and "less per decision" in behind.text
    with pytest.raises(Conflict, match="Let the arm decide first"):
        incidents.close(lab.runtime.engine, "broken", behind.id, "ann")
    world.turn(2)
    assert _arm(lab, "broken", "learned")["fallen_back"], "the page is still broken"
    world.reward = plain  # type: ignore[method-assign]
    for _ in range(40):
        world.turn()
        if not _arm(lab, "broken", "learned").get("fallen_back"):
            break
    behind = next(incident for incident in world.incidents() if incident.kind == "behind_fallback")
    assert behind.closed_at is not None and behind.actions[-1].code == "restored"
    kinds = [line.change.kind for line in history.newest(lab.runtime.engine, experiment_key="broken").lines]
    assert kinds[:2] == ["restored", "fell_back"]
    assert audit_experiment(lab.runtime.engine, lab.settings, "broken").ok


def test_a_rule_that_only_tells_does_nothing(lab: Lab) -> None:
    world = World(lab, "told", 5, learned={"fallback": {"act": False}})
    world.turn(10)
    world.best = TURNED
    world.turn(2)
    (incident,) = world.incidents()
    assert [action.code for action in incident.actions] == ["told"]
    closed = incidents.close(lab.runtime.engine, "told", incident.id, "ann")
    assert closed.closed_at is not None and (closed.actions[-1].actor, closed.actions[-1].code) == ("ann", "closed")
    with pytest.raises(NotFound):
        incidents.close(lab.runtime.engine, "told", 10**9, "ann")


def test_rewards_that_stop_arriving_are_told_apart_from_a_fall(lab: Lab) -> None:
    world = World(lab, "silent", 6)
    plain = world.reward
    world.turn(12)
    world.reward = lambda mood, answer: None  # type: ignore[method-assign]
    world.turn(2)
    assert {incident.kind for incident in world.incidents()} == {"rewards_lost"}
    assert {incident.arm for incident in world.incidents()} == {"control", "learned"}
    assert "Is the app still reporting them?" in world.incidents()[0].text
    world.reward = plain  # type: ignore[method-assign]
    world.turn(10)
    assert all(incident.closed_at is not None for incident in world.incidents())


def test_the_fallback_decides_but_for_the_probe_and_every_number_stays_right(lab: Lab) -> None:
    world = World(lab, "guarded", 3)
    world.turn(5)
    incidents.fall_back(lab.runtime.engine, "guarded", "learned", "a drill", "ann")
    lab.runtime.snapshots.refresh()
    world.turn(4)
    rows = query(
        lab.database_url,
        "SELECT d.distribution, d.eligible FROM decisions d JOIN experiments e ON e.id = d.experiment_id "
        "WHERE e.key = 'guarded' AND d.arm = 'learned' ORDER BY d.decided_at DESC LIMIT 100",
    )
    for chances, eligible in rows:
        assert chances[eligible.index("a")] >= 0.95 and min(chances) > 0 and sum(chances) == pytest.approx(1)
    report = audit_experiment(lab.runtime.engine, lab.settings, "guarded")
    assert report.ok, report.findings
    evaluations.ask(lab.runtime.engine, "guarded", EvaluationRequest(), "ann")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    result = evaluations.newest_done(lab.runtime.engine, "guarded").result  # type: ignore[union-attr]
    assert {line.policy for line in result.policies} >= {"running", "control", "uniform"}
    with pytest.raises(Conflict, match="already"):
        incidents.fall_back(lab.runtime.engine, "guarded", "learned", "a drill", "ann")
    lab.change("guarded", arms=[arm("control", 0.5, "a"), arm("learned", 0.5, {"type": "bandit"})])
    assert _arm(lab, "guarded", "learned")["fallen_back"], "a change of shares does not lift it"
    incidents.restore(lab.runtime.engine, "guarded", "learned", "the drill is over", "ann")
    lab.runtime.snapshots.refresh()
    assert not _arm(lab, "guarded", "learned").get("fallen_back")
    with pytest.raises(Conflict, match="already"):
        incidents.restore(lab.runtime.engine, "guarded", "learned", "again", "ann")
    with pytest.raises(Conflict, match="no fallback"):
        incidents.fall_back(lab.runtime.engine, "guarded", "control", "no", "ann")
    with pytest.raises(NotFound):
        incidents.fall_back(lab.runtime.engine, "guarded", "ghost", "no", "ann")


def test_ramps_learning_and_a_bot_raise_nothing(lab: Lab) -> None:
    world = World(lab, "calm", 4)
    for share in (0.3, 0.5, 0.8):
        lab.change("calm", arms=[arm("control", 1 - share, "a"), arm("learned", share, {"type": "bandit"})])
        world.turn(3)
    plain = world.bodies
    world.bodies = lambda count: [  # type: ignore[method-assign]
        *plain(count // 2),
        *({"unit_id": "bot", "context": {"mood": "x"}} for _ in range(count // 2)),
    ]
    world.turn(4)
    assert world.incidents() == []
