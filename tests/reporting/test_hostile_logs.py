"""Logs of the real world: one unit that outweighs all others, open windows, wrong clocks, cut values, rare events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.learning import rewards
from app.reporting import exclusions
from app.reporting.store.excluded_units import BY_RULE
from tests.lab import AB, Lab, arm
from tests.service import move_decisions, query


def people(count: int, name: str = "u") -> list[dict[str, Any]]:
    return [{"unit_id": f"{name}{number}"} for number in range(count)]


def line(report: dict[str, Any], metric: str = "reward") -> dict[str, Any]:
    (found,) = (each for each in report["metrics"] if each["metric"] == metric)
    (comparison,) = found["comparisons"]
    return dict(comparison)


def value(report: dict[str, Any], metric: str) -> dict[str, Any]:
    (found,) = (each for each in report["metrics"] if each["metric"] == metric)
    return {row["arm"]: row["value"] for row in found["arms"]}


@pytest.fixture(scope="module")
def bot(lab: Lab) -> str:
    """Treated is better for everybody but one bot, which makes most of its arm's decisions and never earns anything."""
    random = np.random.default_rng(8)
    per_unit = {"key": "voice", "source": {"type": "reward", "per": "unit"}}
    metrics = [{"key": "reward", "role": "primary", "source": {"type": "reward"}}, per_unit]
    lab.make("bot", arms=AB, control_arm="control", metrics=metrics)

    def earned(_: Any, decided: dict[str, Any]) -> float:
        return float(random.random() < (0.45 if decided["arm"] == "treated" else 0.30))

    answers = lab.play("bot", people(600), earned)
    treated = {f"u{number}" for number, answer in enumerate(answers) if answer["arm"] == "treated"}
    lab.play("bot", [{"unit_id": min(treated)} for _ in range(1500)], lambda *_: 0.0)
    return min(treated)


def test_where_one_unit_outweighs_all_others_nothing_is_shown_and_a_check_names_it(lab: Lab, bot: str) -> None:
    report = lab.results("bot")
    compared = line(report)
    assert compared["difference"] < 0 and compared["effective_units"] < 5
    assert compared["p_value"] is None and compared["running_p"] is None
    assert "a few units make most of the decisions" in compared["interval"]["reason"]
    assert report["decision"]["verdict"] == "keep_running"
    heavy = [check for check in lab.health("bot")["checks"] if check["check"] == "heavy_units" and check["alert"]]
    assert [(check["name"], check["heaviest"][0]["unit_id"]) for check in heavy] == [("treated", bot)]


def test_an_arm_in_which_nothing_works_is_shown_before_any_interval_opens(lab: Lab) -> None:
    lab.make("broken", arms=AB, control_arm="control", decision_rule={"min_units": 20})
    random = np.random.default_rng(9)
    lab.play("broken", people(90), lambda _, decided: float(decided["arm"] == "control" and random.random() < 0.7))
    report = lab.results("broken")
    compared = line(report)
    assert "needs 100 effective units" in compared["always_valid"]["interval"]["reason"]
    assert compared["running_p"] < 1e-6
    assert (report["decision"]["verdict"], report["decision"]["arm"]) == ("stop", "control")


def test_with_one_voice_for_each_unit_the_bot_is_one_of_many(lab: Lab, bot: str) -> None:
    voice = line(lab.results("bot"), "voice")
    assert voice["interval"]["low"] > 0
    assert voice["effective_units"] > 250


def test_a_unit_is_left_out_of_every_report_and_taken_back(lab: Lab, bot: str) -> None:
    engine = lab.runtime.engine
    listed = exclusions.exclude(engine, "bot", [bot], "a crawler", "ann")
    assert [(unit.unit_id, unit.reason, unit.actor) for unit in listed.units] == [(bot, "a crawler", "ann")]
    without = lab.results("bot", fresh=False)
    assert without["excluded_units"] == 1 and line(without)["interval"]["low"] > 0
    assert not [check for check in lab.health("bot")["checks"] if check["check"] == "heavy_units" and check["alert"]]
    exclusions.include(engine, "bot", [bot], "ann")
    assert lab.results("bot", fresh=False)["excluded_units"] == 0
    kinds = query(lab.database_url, "SELECT kind, after->>'units' FROM changes WHERE kind LIKE 'units_%%' ORDER BY id")
    assert kinds == [("units_excluded", "1"), ("units_included", "1")]


def test_a_rule_leaves_out_units_with_too_many_decisions_on_a_day_until_it_is_lifted(lab: Lab, bot: str) -> None:
    exclusions.exclude(lab.runtime.engine, "bot", ["u-tester", "u-tester"], "one of us", "ann")
    lab.change("bot", decision_rule={"max_decisions_per_day": 100})
    assert line(lab.results("bot"))["interval"]["low"] > 0
    listed = exclusions.listed(lab.runtime.engine, "bot")
    assert {(unit.unit_id, unit.actor) for unit in listed.units} == {(bot, BY_RULE), ("u-tester", "ann")}
    lab.change("bot", decision_rule={})
    assert line(lab.results("bot"))["p_value"] is None
    assert [unit.unit_id for unit in exclusions.listed(lab.runtime.engine, "bot").units] == ["u-tester"]


def test_a_decision_counts_when_its_metrics_window_is_over(lab: Lab) -> None:
    """Later decisions have had no time to earn: compared at once, an arm that was ramped up would look worse."""
    bought = {"key": "bought", "role": "primary", "source": {"type": "value", "metric": "buy"}, "window_s": 86_400.0}
    lab.make("windows", arms=AB, control_arm="control", metrics=[bought])
    early = lab.play("windows", people(300, "early"), settled=False)
    lab.report([{"decision_id": answer["decision_id"], "metric": "buy", "value": 1.0} for answer in early[::2]])
    lab.settle("windows")
    at_once = lab.results("windows")
    (metric,) = (each for each in at_once["metrics"] if each["metric"] == "bought")
    assert metric["preliminary"] and metric["open_decisions"] == 300
    assert value(at_once, "bought")["control"] == pytest.approx(0.5, abs=0.12), "the values so far are shown"
    assert "no decision's window of 86400 s is over yet" in line(at_once, "bought")["interval"]["reason"]
    lab.age("windows", 1.1)
    lab.play("windows", people(100, "late"))
    later = lab.results("windows")
    (metric,) = (each for each in later["metrics"] if each["metric"] == "bought")
    assert not metric["preliminary"] and metric["open_decisions"] == 100
    assert sum(row["units"] for row in metric["arms"]) == 300
    assert line(later, "bought")["interval"]["low"] is not None


def test_the_window_of_a_deferred_decision_runs_from_its_activation(lab: Lab) -> None:
    bought = {"key": "bought", "source": {"type": "value", "metric": "buy"}, "window_s": 3600.0}
    lab.make("deferred", arms=[arm("control", 1.0, "a")], metrics=[bought], reward={"window_s": 600.0})
    (answer,) = lab.play("deferred", [{"unit_id": "u", "defer_activation": True}], settled=False)
    move_decisions(lab.database_url, "d.decided_at - interval '2 hours'", "d.id = %s", answer["decision_id"])
    assert rewards.activate(lab.runtime, lab.caller, answer["decision_id"])["activated"]
    lab.report([{"decision_id": answer["decision_id"], "metric": "buy", "value": 1.0}])
    lab.settle("deferred")
    report = lab.results("deferred")
    assert value(report, "bought") == {"control": 1.0}, "it was bought seconds after it was shown"


@pytest.mark.parametrize("hours", [1, -48])
def test_a_report_counts_by_the_time_of_receipt_where_its_own_cannot_be(lab: Lab, hours: int) -> None:
    key = f"clock{hours}"
    bought = {"key": "bought", "source": {"type": "value", "metric": "buy"}, "window_s": 900.0}
    lab.make(key, arms=[arm("control", 1.0, "a")], metrics=[bought])
    answers = lab.play(key, people(20), settled=False)
    wrong = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    reports = [{"decision_id": answer["decision_id"], "metric": "buy", "value": 1.0} for answer in answers]
    lab.report([report | {"occurred_at": wrong} for report in reports])
    lab.settle(key)
    assert value(lab.results(key), "bought") == {"control": 1.0}
    (clocks,) = (check for check in lab.health(key)["checks"] if check["check"] == "clocks")
    assert clocks["impossible"] == 20 and "a clock is wrong" in clocks["text"] and not clocks["alert"]


def test_cutting_extreme_units_keeps_the_value_of_decisions_that_are_all_worth_the_same(lab: Lab) -> None:
    sources = [
        {"key": "value", "source": {"type": "value", "metric": "v"}, "winsorize": 0.95},
        {"key": "ratio", "source": {"type": "ratio", "numerator": "v", "denominator": "n"}, "winsorize": 0.95},
    ]
    lab.make("cut", arms=AB, control_arm="control", metrics=sources)
    bodies = people(150) + [{"unit_id": f"heavy{number % 4}"} for number in range(600)]
    answers = lab.play("cut", bodies, settled=False)
    lab.report(
        [{"decision_id": answer["decision_id"], "metric": name, "value": 1.0} for answer in answers for name in "vn"]
    )
    lab.settle("cut")
    report = lab.results("cut")
    assert value(report, "value") == pytest.approx({"control": 1.0, "treated": 1.0})
    assert value(report, "ratio") == pytest.approx({"control": 1.0, "treated": 1.0})


def small_and_treated(body: dict[str, Any], decided: dict[str, Any]) -> float:
    return float(body["context"]["plan"].startswith("small") and decided["arm"] == "treated")


def test_more_segments_than_a_page_shows_are_all_in_the_sum(lab: Lab) -> None:
    """The effect is only in the small segments, which a page shows together as "(other)"."""
    plans = [f"big{n}" for n in range(20) for _ in range(20)] + [f"small{n}" for n in range(60) for _ in range(14)]
    lab.make("plans", arms=AB, control_arm="control", segments=["plan"])
    bodies = [{"unit_id": f"u{n}", "context": {"plan": plan}} for n, plan in enumerate(plans)]
    lab.play("plans", bodies, small_and_treated)
    whole = line(lab.results("plans"))
    split = lab.results("plans", segment="plan")["metrics"][0]["comparisons"]
    by_segment = {each["segment"]: each for each in split}
    assert len(by_segment) == 22 and "(other)" in by_segment
    assert by_segment[None]["difference"] == pytest.approx(whole["difference"], abs=0.05)
    assert sum(by_segment[None]["units"].values()) == len(plans)


def test_a_negative_control_turns_no_sign(lab: Lab) -> None:
    random = np.random.default_rng(4)
    reward = {"window_s": 600.0, "min": -20.0, "max": 0.0}
    lab.make("loss", arms=AB, control_arm="control", reward=reward)

    def cost(_: Any, decided: dict[str, Any]) -> float:
        return float(np.clip(random.normal(-5 if decided["arm"] == "treated" else -10, 1), -20, 0))

    lab.play("loss", people(300), cost)
    compared = line(lab.results("loss"))
    assert compared["difference"] > 4 and compared["relative_lift"] == pytest.approx(0.5, abs=0.05)
    assert 0.4 < compared["relative_interval"]["low"] < compared["relative_interval"]["high"] < 0.6


def test_an_arm_without_variance_is_one_of_those_that_may_win(lab: Lab) -> None:
    arms = [arm("control", 0.4, "a"), arm("never", 0.3, "b"), arm("treated", 0.3)]
    random = np.random.default_rng(5)
    lab.make("chances", arms=arms, control_arm="control")
    lab.play("chances", people(600), lambda _, one: float(one["arm"] != "never" and random.random() < 0.4))
    chances = {each["arm"]: each["chance_to_win"] for each in lab.results("chances")["metrics"][0]["comparisons"]}
    assert chances["never"]["probability"] < 0.01
    assert chances["treated"]["probability"] < 0.95
