"""Results over time and what the rule says: ship, stop, keep running, each with its reason; and data too thin for a number."""

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from app.design import experiments
from app.foundation.errors import NotFound, Unprocessable
from app.reporting import results
from app.reporting.documents.results import RuleVerdict
from app.reporting.pages.sentences import rule_says
from tests.lab import AB, Lab, arm
from tests.service import definition, query

CLICKS = {"key": "clicks", "role": "primary", "source": {"type": "count", "metric": "click"}}


def units(count: int, name: str = "u") -> list[dict[str, Any]]:
    return [{"unit_id": f"{name}{number}"} for number in range(count)]


def coin(control: float, treated: float, seed: int = 1) -> Any:
    """Rewards of 1 with a chance that depends on the arm."""
    random = np.random.default_rng(seed)
    return lambda _, one: float(random.random() < (control if one["arm"] == "control" else treated))


def verdict(report: dict[str, Any]) -> tuple[str, str | None, str]:
    decision = report["decision"]
    return decision["verdict"], decision["arm"], " ".join(decision["reasons"])


def test_a_better_arm_is_shipped(lab: Lab) -> None:
    lab.make("ship", arms=AB, control_arm="control")
    lab.play("ship", units(1500), coin(0.3, 0.6))
    found = lab.results("ship")
    assert verdict(found)[:2] == ("ship", "treated")
    assert "treated is better than control" in verdict(found)[2]
    (line,) = found["metrics"][0]["comparisons"]
    assert line["headline"] == {"interval": line["always_valid"]["interval"], "p_value": line["adjusted_running_p"]}
    assert line["chance_to_win"]["probability"] > 0.99
    bayes = lab.results("ship", method="bayes")
    assert bayes["metrics"][0]["comparisons"][0]["headline"] == {"chance_to_win": line["chance_to_win"]}


def test_fewer_units_than_the_rule_asks_for_keep_running(lab: Lab) -> None:
    lab.make("few", arms=AB, control_arm="control", decision_rule={"min_units": 5000})
    lab.play("few", units(600), coin(0.1, 0.9))
    assert verdict(lab.results("few"))[0] == "keep_running"
    assert "the rule asks for 5000" in verdict(lab.results("few"))[2]
    lab.change("few", decision_rule={"min_units": 10, "min_days": 3.0})
    assert "It ran 0.0 days; the rule asks for 3." in verdict(lab.results("few"))[2]
    lab.change("few", decision_rule={"min_units": 10, "min_days": 0.0})
    assert verdict(lab.results("few"))[0] == "ship"


def test_a_verdict_says_how_the_rule_was_changed_after_the_launch(lab: Lab) -> None:
    lab.make("rewritten", arms=AB, control_arm="control", metrics=[CLICKS])
    lab.play("rewritten", units(300), coin(0.5, 0.5))
    assert lab.results("rewritten")["decision"]["changes"] == []
    lab.change("rewritten", name="Another name")
    lab.change("rewritten", decision_rule={"min_days": 0.0, "alpha": 0.49})
    lab.play("rewritten", [{"unit_id": f"later-{number}"} for number in range(100)])
    lab.change("rewritten", metrics=[{**CLICKS, "direction": "decrease"}])
    alpha, turned = lab.results("rewritten")["decision"]["changes"]
    assert (alpha["version"], alpha["decisions"], alpha["differences"]) == (3, 300, ["alpha from 0.05 to 0.49"])
    assert (turned["decisions"], turned["differences"]) == (400, ["clicks: direction from increase to decrease"])
    sentence = rule_says(RuleVerdict.model_validate(lab.results("rewritten")["decision"]))
    assert (
        "changed after launch" in sentence
        and "After 300 decisions" in sentence
        and "alpha from 0.05 to 0.49" in sentence
    )
    lab.change("rewritten", metrics=[])
    assert lab.results("rewritten")["decision"]["changes"][-1]["differences"] == [
        "the primary metric clicks was removed"
    ]


def test_changes_before_the_launch_are_no_changes_of_the_rule(lab: Lab) -> None:
    experiments.create(lab.runtime.engine, lab.settings, definition("drafted", arms=AB, control_arm="control"), "test")
    lab.change("drafted", decision_rule={"alpha": 0.1})
    experiments.move(lab.runtime.engine, "drafted", "start", "test")
    lab.runtime.snapshots.refresh()
    lab.play("drafted", units(50))
    decision = lab.results("drafted")["decision"]
    assert decision["changes"] == [] and decision["rule"]["min_days"] == 7, "a week, unless the rule says otherwise"
    assert "changed after launch" not in rule_says(RuleVerdict.model_validate(decision))


def test_arms_that_differ_in_nothing_keep_running_until_the_last_day(lab: Lab) -> None:
    lab.make("null", arms=AB, control_arm="control", decision_rule={"max_days": 1.0})
    lab.play("null", units(800), coin(0.5, 0.5))
    assert verdict(lab.results("null")) == ("keep_running", None, "No difference is shown yet at every look together.")
    query(lab.database_url, "UPDATE experiments SET started_at = started_at - interval '2 days' WHERE key = 'null'")
    assert verdict(lab.results("null"))[0] == "stop"
    assert "After 2.0 of at most 1 days no arm is shown to be better" in verdict(lab.results("null"))[2]


def test_arms_that_are_all_worse_stop(lab: Lab) -> None:
    lab.make("worse", arms=AB, control_arm="control")
    lab.play("worse", units(1200), coin(0.7, 0.3))
    assert verdict(lab.results("worse"))[:2] == ("stop", "control")
    assert "treated is worse than control" in verdict(lab.results("worse"))[2]


def test_lower_is_better_when_the_metric_says_so(lab: Lab) -> None:
    metric = {"key": "errors", "role": "primary", "source": {"type": "reward"}, "direction": "decrease"}
    lab.make("lower", arms=AB, control_arm="control", metrics=[metric])
    lab.play("lower", units(1200), coin(0.7, 0.3))
    assert verdict(lab.results("lower"))[:2] == ("ship", "treated")


def test_lost_units_stop_everything(lab: Lab) -> None:
    lab.make("lost", arms=AB, control_arm="control")
    lab.play("lost", units(1500), coin(0.3, 0.6))
    query(
        lab.database_url,
        "DELETE FROM outcomes o USING experiments e WHERE e.id = o.experiment_id AND e.key = 'lost'"
        " AND o.arm = 'treated' AND hashtext(o.unit_id) % 3 = 0",
    )
    found = lab.results("lost")
    assert found["sample_ratio"]["alert"] and found["sample_ratio"]["p_value"] < 0.001
    assert verdict(found)[:2] == ("stop", None) and "do not match their shares" in verdict(found)[2]


def guarded(margin: float) -> list[dict[str, Any]]:
    source = {"type": "value", "metric": "latency"}
    guard = {"key": "latency", "role": "guardrail", "source": source, "direction": "decrease", "min_effect": margin}
    return [{"key": "reward", "role": "primary", "source": {"type": "reward"}}, guard]


def test_a_crossed_guardrail_stops_and_one_within_its_margin_is_shown_to_be_not_worse(lab: Lab) -> None:
    for key, slower in (("crossed", 1.5), ("kept", 1.0)):
        lab.make(key, arms=AB, control_arm="control", metrics=guarded(0.1))
        random = np.random.default_rng(2)
        answers = lab.play(key, units(1500), coin(0.3, 0.6), settled=False)
        factor = {"control": 1.0, "treated": slower}
        taken = [factor[one["arm"]] * float(random.normal(100, 20)) for one in answers]
        pairs = zip(answers, taken, strict=True)
        lab.report([{"decision_id": one["decision_id"], "metric": "latency", "value": ms} for one, ms in pairs])
        lab.settle(key)
    crossed, kept = lab.results("crossed"), lab.results("kept")
    assert verdict(crossed)[:2] == ("stop", None)
    assert "treated crosses the guardrail latency" in verdict(crossed)[2]
    assert verdict(kept)[:2] == ("ship", "treated")
    (line,) = kept["metrics"][1]["comparisons"]
    control = next(row["value"] for row in kept["metrics"][1]["arms"] if row["arm"] == "control")
    tested = line["non_inferiority"]
    assert tested["shown"] and tested["margin"] == pytest.approx(0.1 * control)
    assert tested["bound"] == pytest.approx(line["difference"] + 1.6459 * line["std_error"], rel=1e-3)
    (line,) = crossed["metrics"][1]["comparisons"]
    assert not line["non_inferiority"]["shown"] and line["non_inferiority"]["p_value"] > 0.99


def test_primary_metrics_are_adjusted_with_holm_and_the_others_with_benjamini_hochberg(lab: Lab) -> None:
    arms = [arm("control", 0.4, "a"), arm("treated", 0.3), arm("other", 0.3, "b")]
    metrics = [{"key": "reward", "role": "primary", "source": {"type": "reward"}}]
    metrics += [{"key": f"p{n}", "role": "primary", "source": {"type": "value", "metric": f"m{n}"}} for n in range(2)]
    metrics += [{"key": f"s{n}", "source": {"type": "value", "metric": f"m{n}"}} for n in range(2, 6)]
    lab.make("many", arms=arms, control_arm="control", metrics=metrics)
    random = np.random.default_rng(7)
    answers = lab.play("many", units(700), coin(0.4, 0.47), settled=False)
    lab.report(
        [
            {
                "decision_id": one["decision_id"],
                "metric": f"m{n}",
                "value": float(random.normal(n * (one["arm"] == "other") / 12, 1)),
            }
            for one in answers
            for n in range(6)
        ]
    )
    lab.settle("many")
    found = lab.results("many", method="fixed")["metrics"]
    for role, method, count in (("primary", "holm", 6), ("secondary", "fdr_bh", 8)):
        lines = [line for metric in found if metric["role"] == role for line in metric["comparisons"]]
        assert len(lines) == count
        for name in ("p_value", "running_p"):
            wanted = multipletests([line[name] for line in lines], method=method)[1]
            assert [line[f"adjusted_{name}"] for line in lines] == pytest.approx(list(wanted))
        assert {line["adjustment"] for line in lines} == {method}


def test_the_sequential_p_value_is_the_smallest_of_all_looks(lab: Lab) -> None:
    lab.make("looks", arms=AB, control_arm="control")
    lowest, seen = 1.0, []
    for look, chance in enumerate((0.8, 0.45, 0.4, 0.35)):
        lab.play("looks", units(300, f"look{look}-"), coin(0.5, chance, look))
        (line,) = lab.results("looks")["metrics"][0]["comparisons"]
        lowest = min(lowest, line["always_valid"]["p_value"])
        assert line["running_p"] == lowest
        seen.append(line["always_valid"]["p_value"])
    assert seen[-1] > seen[0]  # it would have come back up
    assert len(results.history(lab.runtime.engine, "looks")) == 4
    past = [one.comparisons[0].running_p for one in results.history(lab.runtime.engine, "looks")]
    assert past == sorted(past, reverse=True)


def test_a_difference_that_changed_its_sign_ships_and_stops_nothing(lab: Lab) -> None:
    lab.make("turned", arms=AB, control_arm="control")
    lab.play("turned", units(400, "early"), coin(0.2, 0.8))
    assert verdict(lab.results("turned"))[0] == "ship"
    lab.play("turned", units(2000, "late"), coin(0.6, 0.38))
    found = lab.results("turned")
    (line,) = found["metrics"][0]["comparisons"]
    assert line["difference"] < 0 and line["running_p"] < 1e-6 < line["always_valid"]["p_value"]
    assert verdict(found)[0] == "keep_running"


def test_a_metric_that_is_defined_anew_begins_anew(lab: Lab) -> None:
    metrics = [{"key": "m", "role": "primary", "source": {"type": "value", "metric": "good"}}]
    lab.make("anew", arms=AB, control_arm="control", metrics=metrics)
    answers = lab.play("anew", units(400), settled=False)
    random = np.random.default_rng(4)
    for name, gain in (("good", 2.0), ("dull", 0.0)):
        values = [float(random.normal(gain * (one["arm"] == "treated"), 1)) for one in answers]
        pairs = zip(answers, values, strict=True)
        lab.report([{"decision_id": one["decision_id"], "metric": name, "value": value} for one, value in pairs])
    lab.settle("anew")
    assert verdict(lab.results("anew"))[0] == "ship"
    metrics[0]["source"] = {"type": "value", "metric": "dull"}
    lab.change("anew", metrics=metrics)
    found = lab.results("anew")
    line = next(one for one in found["metrics"] if one["metric"] == "m")["comparisons"][0]
    assert line["running_p"] == line["always_valid"]["p_value"] > 0.05
    assert verdict(found)[0] == "keep_running"


def lines(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [line for metric in report["metrics"] for line in metric["comparisons"]]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_handful_of_units_gives_sentences_and_no_number_that_is_none(lab: Lab, count: int) -> None:
    key = f"handful-{count}"
    every = [{"type": "reward"}, {"type": "value", "metric": "m"}, {"type": "count", "metric": "m", "per": "unit"}]
    every += [
        {"type": "ratio", "numerator": "m", "denominator": "d"},
        {"type": "retention", "days": 1.0},
        {"type": "sessions"},
    ]
    metrics = [
        {"key": f"m{n}", "role": "guardrail" if n else "primary", "source": s, "min_effect": 0.1}
        for n, s in enumerate(every)
    ]
    lab.make(key, arms=AB, control_arm="control", metrics=metrics, segments=["s"])
    lab.play(key, units(count), coin(0.5, 0.5))
    for segment in (None, "s"):
        found = lab.results(key, segment=segment)
        for line in lines(found):
            if line["interval"]["low"] is None:
                assert line["interval"]["reason"], line
    assert verdict(lab.results(key))[0] == "keep_running"
    assert lab.health(key)["ok"]


def test_one_unit_with_many_decisions_an_empty_arm_and_constants_are_said_in_words(lab: Lab) -> None:
    arms = [arm("control", 0.5, "a"), arm("treated", 0.5), arm("empty", 0.0)]
    lab.make("one-unit", arms=arms, control_arm="control")
    lab.play("one-unit", [{"unit_id": "always the same"} for _ in range(50)], coin(0.5, 0.5))
    reasons = {line["arm"]: line["interval"]["reason"] for line in lines(lab.results("one-unit"))}
    assert "fewer than two units" in reasons["treated"]
    assert "no unit was ever assigned while both 'empty' and 'control' got units" in reasons["empty"]
    lab.make("constant", arms=arms, control_arm="control")
    lab.play("constant", units(400), coin(1.0, 1.0))
    found = {line["arm"]: line for line in lines(lab.results("constant"))}
    assert "'empty'" in found["empty"]["interval"]["reason"]
    assert found["treated"]["difference"] == 0.0 and found["treated"]["p_value"] is None
    assert found["treated"]["interval"]["reason"] and found["treated"]["always_valid"]["interval"]["reason"]
    lab.make("half-constant", arms=arms, control_arm="control")
    lab.play("half-constant", units(400), coin(1.0, 0.5))
    line = next(line for line in lines(lab.results("half-constant")) if line["arm"] == "treated")
    assert line["interval"]["high"] < 0 and line["p_value"] < 0.01


def test_what_is_unknown_is_refused_with_what_is_known(lab: Lab) -> None:
    lab.make("refusals", arms=AB, segments=["plan"])
    engine = lab.runtime.engine
    with pytest.raises(Unprocessable, match="sequential, fixed, bayes"):
        results.get(engine, "refusals", method="vibes")
    with pytest.raises(Unprocessable, match="declared are plan"):
        results.get(engine, "refusals", segment="mood")
    lab.make("no-segments", arms=AB)
    with pytest.raises(Unprocessable, match="declares none"):
        results.get(engine, "no-segments", segment="mood")
    with pytest.raises(NotFound):
        results.get(engine, "nobody")


def stored(lab: Lab, key: str) -> int:
    found = query(
        lab.database_url,
        "SELECT count(*) FROM reports r JOIN experiments e ON e.id = r.experiment_id WHERE e.key = %s AND r.kind = 'results'",
        key,
    )
    return int(found[0][0])


def earlier(lab: Lab, seconds: float) -> None:
    query(lab.database_url, "UPDATE reports SET computed_at = computed_at - make_interval(secs => %s)", seconds)


def test_reports_are_computed_when_something_changed_and_say_how_old_they_are(lab: Lab) -> None:
    engine = lab.runtime.engine
    results.compute_stale(engine, 0.0)
    lab.make("age", arms=AB, segments=["plan"])
    assert "age" not in results.compute_stale(engine, 0.0)  # nothing is settled
    lab.play("age", units(50), coin(0.5, 0.5))
    assert results.compute_stale(engine, 0.0) == ["age"]
    assert stored(lab, "age") == 2  # all, and by plan
    earlier(lab, 10)
    assert results.compute_stale(engine, 0.0) == []
    lab.play("age", units(10, "new"), coin(0.5, 0.5))
    assert results.compute_stale(engine, 3600.0) == []
    earlier(lab, 80)
    assert lab.results("age", fresh=False)["age_s"] == pytest.approx(90, abs=5)
    assert lab.results("age", fresh=False)["window"]["decisions"] == 50
    assert lab.results("age", fresh=False, max_age_s=3600.0)["window"]["decisions"] == 50
    assert lab.results("age", fresh=False, max_age_s=10.0)["window"]["decisions"] == 60
    assert lab.results("age", fresh=False)["age_s"] < 10


def test_outcomes_that_were_settled_while_a_report_was_computed_are_not_forgotten(lab: Lab) -> None:
    engine = lab.runtime.engine
    lab.make("meanwhile", arms=AB)
    lab.play("meanwhile", units(40), coin(0.5, 0.5))
    results.compute_stale(engine, 0.0)
    lab.play("meanwhile", units(5, "late"), coin(0.5, 0.5))
    query(  # their round began before the report and committed after it
        lab.database_url,
        "UPDATE outcomes SET settled_at = clock_timestamp() - interval '20 seconds' WHERE unit_id LIKE 'late%'",
    )
    earlier(lab, 15)
    assert results.compute_stale(engine, 0.0) == ["meanwhile"]
    assert lab.results("meanwhile", fresh=False)["window"]["decisions"] == 45


def test_arms_are_compared_only_up_to_where_all_of_them_are_settled(lab: Lab) -> None:
    experiment_id = lab.make("halfway", arms=AB, control_arm="control")
    lab.play("halfway", units(300, "first"), coin(0.5, 0.5))
    lab.play("halfway", units(300, "second"), coin(0.5, 0.5), settled=False)
    lab.close_windows(experiment_id)
    lab.settle_arm(experiment_id, "control")  # the other arm's round comes a moment later
    found = lab.results("halfway")
    assert found["window"]["decisions"] == 300 and found["window"]["complete_until"]
    assert sum(found["units"].values()) == 300
    assert not found["sample_ratio"]["alert"] and verdict(found)[0] == "keep_running"
    assert lab.health("halfway")["ok"]
    lab.settle_arm(experiment_id, "treated")
    assert lab.results("halfway")["window"]["decisions"] == 600
