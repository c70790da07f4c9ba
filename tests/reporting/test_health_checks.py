"""Health checks: quiet on a clean experiment, through ramps and new actions; loud, with a name, on a planted bug."""

from typing import Any

import numpy as np
import pytest

from app.foundation.errors import NotFound, Unprocessable
from app.reporting import health_checks, home
from app.reporting.comparison.sample_ratio import SeenUnits, judge
from experiments.logs.health import sample_ratio
from tests.lab import AB, Lab, arm
from tests.service import query


def units(count: int, name: str = "u") -> list[dict[str, Any]]:
    return [{"unit_id": f"{name}{number}"} for number in range(count)]


def alerts(report: dict[str, Any]) -> list[dict[str, Any]]:
    assert report["ok"] == (not any(check["alert"] for check in report["checks"]))
    return [check for check in report["checks"] if check["alert"]]


def delete(lab: Lab, key: str, where: str) -> None:
    """Lose some decisions from the log, with their outcomes, as a faulty pipeline would."""
    query(
        lab.database_url,
        "WITH gone AS (DELETE FROM decisions d USING experiments e WHERE e.id = d.experiment_id"
        f" AND e.key = '{key}' AND {where} RETURNING d.id) DELETE FROM outcomes WHERE decision_id IN (SELECT id FROM gone)",
    )


def test_a_clean_experiment_is_in_order(lab: Lab) -> None:
    lab.make("clean", arms=AB, control_arm="control", segments=["plan"])
    bodies = [one | {"context": {"plan": "pro" if n % 3 else "free"}} for n, one in enumerate(units(3000))]
    lab.play("clean", bodies, lambda _, one: 1.0)
    for segment in (None, "plan"):
        found = lab.health("clean", segment=segment)
        assert alerts(found) == []
        groups = {(check["group"], check["name"]) for check in found["checks"] if check["check"] == "choices"}
        assert {("arm", "control"), ("arm", "treated"), ("model version", "treated@0")} <= groups
        assert (("segment", "pro") in groups) == (segment == "plan")
    ratio = next(check for check in found["checks"] if check["check"] == "sample_ratio")
    assert ratio["p_value"] > 0.001 and sum(ratio["observed"].values()) == 3000
    assert found["waiting_for_rewards"] == 0


@pytest.mark.parametrize("lost", ["hashtext(d.id) % 10 = 0", "hashtext(d.id) % 4 = 0"])
def test_lost_exposures_of_one_action_are_found_and_the_action_is_named(lab: Lab, lost: str) -> None:
    key = f"lost-{lost.count('10')}"
    lab.make(key, arms=[arm("all", 1.0)])
    lab.play(key, units(12_000 if "10" in lost else 2000), settled=False)
    assert alerts(lab.health(key)) == []
    delete(lab, key, f"eligible[chosen + 1] = 'b' AND {lost}")
    found = alerts(lab.health(key))
    assert found and all(check["check"] == "choices" and "action 'b'" in check["text"] for check in found)
    assert {check["group"] for check in found} == {"arm", "model version"}
    health_checks.compute_due(lab.runtime.engine, 0.0)
    told = [badge.text for badge in home.badges_of(lab.runtime.engine, key)]
    assert any(text.startswith("Biased log: choices do not match") and "action 'b'" in text for text in told)


def test_units_that_were_moved_between_arms_are_found(lab: Lab) -> None:
    lab.make("moved", arms=AB, control_arm="control")
    lab.play("moved", units(3000))
    assert alerts(lab.health("moved")) == []
    query(
        lab.database_url,
        "UPDATE outcomes o SET arm = 'treated' FROM experiments e WHERE e.id = o.experiment_id AND e.key = 'moved'"
        " AND o.arm = 'control' AND hashtext(o.unit_id) % 8 = 0",
    )
    (found,) = alerts(lab.health("moved"))
    assert found["check"] == "sample_ratio" and "find the cause" in found["text"]
    assert found["anytime_p_value"] < 0.05


def ramp(share: float) -> list[dict[str, Any]]:
    return [arm("control", 1 - share, "a"), arm("treated", share)]


def test_a_ramp_is_no_alarm_and_units_lost_in_it_are_one(lab: Lab) -> None:
    lab.make("ramp", arms=ramp(0.05), control_arm="control")
    for step, share in enumerate((0.05, 0.2, 0.5)):
        if step:
            lab.change("ramp", arms=ramp(share))
        returning = units(300, f"step{step - 1}-") if step else []
        lab.play("ramp", units(1500, f"step{step}-") + returning, lambda _, one: 1.0)
    found = lab.health("ramp")
    assert alerts(found) == []
    ratio = next(check for check in found["checks"] if check["check"] == "sample_ratio")
    assert sum(ratio["observed"].values()) == 4500  # who came back counts once, where it was first seen
    assert ratio["expected"]["treated"] == pytest.approx(1500 * (0.05 + 0.2 + 0.5))
    report = lab.results("ramp")
    assert not report["sample_ratio"]["alert"] and report["decision"]["verdict"] != "stop"
    delete(lab, "ramp", "d.arm = 'treated' AND hashtext(d.unit_id) % 4 = 0")
    assert [check["check"] for check in alerts(lab.health("ramp"))] == ["sample_ratio"]
    assert lab.results("ramp")["decision"]["verdict"] == "stop"


def test_an_arm_that_is_switched_off_or_comes_later_is_no_alarm(lab: Lab) -> None:
    lab.make("off", arms=AB, control_arm="control")
    lab.play("off", units(1000, "first"))
    lab.change("off", arms=[arm("control", 0.6, "a"), arm("treated", 0.0), arm("late", 0.4, "b")])
    lab.play("off", units(1000, "second"))
    assert alerts(lab.health("off")) == []
    assert not lab.results("off")["sample_ratio"]["alert"]
    query(lab.database_url, "UPDATE outcomes SET arm = 'late' WHERE unit_id = 'first7'")
    (found,) = alerts(lab.health("off"))
    assert "arm 'late' holds 1 units that were first seen while its share was 0" in found["text"]


def test_false_alarms_of_the_sample_ratio_through_ramps_stay_rare() -> None:
    random = np.random.default_rng(8)
    arms, alarms, anytime = ["a", "b", "c"], 0, 0
    for _ in range(1000):
        shares = [tuple(random.dirichlet([5, 5, 5])) for _ in range(random.integers(1, 4))]
        stretches = [
            SeenUnits(one, random.multinomial(int(random.integers(50, 3000)), one).astype(float)) for one in shares
        ]
        found = judge(arms, stretches).as_json()
        alarms += found["alert"]
        anytime += found["anytime_p_value"] < 0.05
    assert alarms <= 6  # 0.001 of 1,000 each
    assert anytime <= 50


def test_one_stretch_of_constant_shares_gives_pearson_s_test() -> None:
    share, counts = (0.2, 0.3, 0.5), [230.0, 270.0, 540.0]
    found = judge(["a", "b", "c"], [SeenUnits(share, np.array(counts))]).as_json()
    pearson = sample_ratio(counts, share)
    assert found["p_value"] == pytest.approx(pearson.p_value, rel=1e-9)
    assert list(found["expected"].values()) == pytest.approx(pearson.expected)


def test_actions_that_appear_midway_are_no_alarm_and_are_checked_too(lab: Lab) -> None:
    lab.make("new-actions", arms=[arm("all", 1.0)])
    for count in (2, 3, 5):
        actions = [{"id": f"x{n}"} for n in range(count)]
        lab.play("new-actions", [one | {"actions": actions} for one in units(2500, f"{count}-")], settled=False)
    assert alerts(lab.health("new-actions")) == []
    delete(lab, "new-actions", "eligible[chosen + 1] = 'x4' AND hashtext(d.id) % 2 = 0")
    found = alerts(lab.health("new-actions"))
    assert found and all("action 'x4'" in check["text"] for check in found)


def test_a_learning_arm_s_changing_propensities_are_no_alarm(lab: Lab) -> None:
    experiment_id = lab.learn("learning", 300)
    for _ in range(4):
        lab.more("learning", experiment_id, 500)
    found = lab.health("learning")
    assert alerts(found) == []
    versions = {check["name"] for check in found["checks"] if check.get("group") == "model version"}
    assert versions == {f"learned@{number}" for number in range(5)}
    assert any(check["check"] == "model" and check["text"] == "version 5 serves" for check in found["checks"])
    query(
        lab.database_url, "UPDATE lineages SET problem = 'the canaries failed' WHERE experiment_id = %s", experiment_id
    )
    (problem,) = alerts(lab.health("learning"))
    assert problem["check"] == "model" and "the canaries failed" in problem["text"]


def test_missing_rewards_are_told_per_arm(lab: Lab) -> None:
    lab.make("missing", arms=AB, control_arm="control")
    random = np.random.default_rng(1)
    share = {"control": 0.9, "treated": 0.6}
    lab.play("missing", units(1500), lambda _, one: 1.0 if random.random() < share[one["arm"]] else None)
    found = lab.health("missing")
    (check,) = (one for one in found["checks"] if one["check"] == "missing_rewards")
    assert check["share"] == pytest.approx({"control": 0.1, "treated": 0.4}, abs=0.05)
    assert check["differs"] and found["ok"]


def test_late_rewards_and_open_windows_are_counted(lab: Lab) -> None:
    experiment_id = lab.make("late", arms=AB)
    answers = lab.play("late", units(30), lambda _, one: 1.0)
    lab.play("late", units(7, "open"), settled=False)
    lab.report([{"decision_id": one["decision_id"], "value": 0.5, "reward_id": "again"} for one in answers[:4]])
    found = lab.health("late")
    assert (found["waiting_for_rewards"], found["late_rewards"]) == (7, 4), experiment_id


def test_health_of_nothing_is_said_in_words(lab: Lab) -> None:
    lab.make("nothing", arms=AB, segments=["plan"])
    for segment in (None, "plan"):
        found = lab.health("nothing", segment=segment)
        assert found["ok"] and all(check["text"] for check in found["checks"])
    with pytest.raises(Unprocessable, match="declared are plan"):
        health_checks.get(lab.runtime.engine, "nothing", segment="mood")
    with pytest.raises(NotFound):
        health_checks.get(lab.runtime.engine, "nobody")
