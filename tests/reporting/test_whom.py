"""The report "What works for whom" on worlds whose truth is known, through the learner, the worker's code, page and API."""

from typing import Any

import numpy as np
import pytest

from app.registry import newest
from app.reporting import results
from app.reporting.whom import report as whom
from app.reporting.whom import window
from tests.lab import Lab, arm, sound
from tests.page_client import Browser
from tests.service import Client, query

LEARNS = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}, "exploration_floor": 0.1}
CHANCE = {("pro", "b"): 0.7}  # of the other pairs 0.3
PAGE = "/admin/experiments/whom/what-works-for-whom"


def arms(learned: float, control: float, uniform: float) -> list[dict[str, Any]]:
    return [arm("control", control, "a"), arm("learned", learned, LEARNS), arm("even", uniform)]


def bodies(count: int, name: str) -> list[dict[str, Any]]:
    """Two decisions of each unit; the plan matters, the colour does not."""
    random = np.random.default_rng(len(name) + count)
    plans, colours = random.integers(0, 2, count), random.integers(0, 3, count)
    return [
        {
            "unit_id": f"{name}{n // 2}",
            "context": {
                "plan": ("free", "pro")[plans[n // 2]],
                "colour": ("red", "blue", "green")[colours[n // 2]],
                "age": 18 + int(plans[n // 2] + 5 * (n // 2 % 9)),
            },
        }
        for n in range(count)
    ]


def world(seed: int) -> Any:
    random = np.random.default_rng(seed)
    return lambda body, one: float(random.random() < CHANCE.get((body["context"]["plan"], one["action"]["id"]), 0.3))


@pytest.fixture(scope="module")
def report(lab: Lab) -> dict[str, Any]:
    """Four rounds of a learning arm beside a fixed and a uniform one, through a change of the shares."""
    lab.make("whom", arms=arms(0.5, 0.3, 0.2), control_arm="control", segments=["plan", "colour", "age"])
    for turn in range(4):
        if turn == 2:
            lab.change("whom", arms=arms(0.6, 0.2, 0.2))
        lab.play("whom", bodies(1000, f"turn{turn}-"), world(turn))
    for segment in (None, "plan", "colour", "age"):
        results.compute(lab.runtime.engine, "whom", segment)
    assert "whom" in whom.compute_due(lab.runtime.engine, lab.settings)
    return dict(sound(whom.stored(lab.runtime.engine, "whom").as_json()))


def cell(report: dict[str, Any], field: str, value: str, action: str) -> dict[str, Any]:
    (found,) = [one for one in report["fields"] if one["field"] == field]
    (row,) = [one for one in found["values"] if one["value"] == value]
    return next(one for one in row["actions"] if one["action"] == action)


def test_values_of_actions_are_near_the_truth_of_the_world(report: dict[str, Any]) -> None:
    """One look per interval: of the 15 or so some may miss, but not by much; the one that matters is found."""
    for plan in ("free", "pro"):
        for action in "abc":
            found, truth = cell(report, "plan", plan, action), CHANCE.get((plan, action), 0.3)
            assert found["interval"]["low"] - 0.02 < truth < found["interval"]["high"] + 0.02
    best = cell(report, "plan", "pro", "b")
    assert best["differs"] and best["difference_interval"]["low"] < 0.4 < best["difference_interval"]["high"]
    assert best["adjusted_p_value"] >= best["p_value"]
    assert not any(cell(report, "plan", "free", action)["differs"] for action in "abc")
    assert cell(report, "plan", "pro", "a")["difference_interval"]["reason"] == "both choose alike"


def test_what_is_chosen_is_the_share_of_the_learning_arm(report: dict[str, Any], lab: Lab) -> None:
    log = lab.outcomes("whom").tail(report["window"]["decisions"])
    own = log[(log.arm == "learned") & (log.context.map(lambda one: one["plan"]) == "pro")]
    shares = [cell(report, "plan", "pro", action)["chosen"][0] for action in "abc"]
    assert sum(share["share"] for share in shares) == pytest.approx(1.0)
    ids = ",".join(f"'{one}'" for one in own.decision_id)
    ((b,),) = query(
        lab.database_url, f"SELECT count(*) FROM decisions WHERE id IN ({ids}) AND eligible[chosen + 1] = 'b'"
    )
    assert shares[1]["share"] == pytest.approx(b / len(own))
    assert shares[1]["interval"]["low"] < b / len(own) < shares[1]["interval"]["high"]


def test_the_plan_matters_and_the_colour_does_not(report: dict[str, Any]) -> None:
    lines = {(line["side"], line["feature"]): line for line in report["importance"]}
    assert lines["context", "plan"]["matters"] and lines["action", None]["matters"]
    assert not lines["context", "colour"]["matters"]
    assert set(lines) == {("context", name) for name in ("plan", "colour", "age")} | {
        ("action", None),
        ("action", "size"),
    }
    assert report["fields"][0]["field"] == "plan" and 0 < report["explained"] < 0.3


def test_numbers_are_cut_at_quartiles_that_are_named(report: dict[str, Any]) -> None:
    (age,) = [one for one in report["fields"] if one["field"] == "age"]
    assert len(age["edges"]) == 3 and [one["value"].split()[0] for one in age["values"]] == [
        "up",
        "over",
        "over",
        "over",
    ]
    assert sum(one["decisions"] for one in age["values"]) == report["window"]["decisions"] == 3600


def test_segments_are_those_of_the_results_corrected_by_holm(report: dict[str, Any], lab: Lab) -> None:
    assert {line["arm"] for line in report["segments"]} == {"learned"}
    first = report["segments"][0]
    assert (first["field"], first["segment"], first["differs"]) == ("plan", "pro", True)
    by_plan = lab.results("whom", fresh=False, segment="plan")["metrics"][0]["comparisons"]
    (line,) = [one for one in by_plan if (one["arm"], one["segment"]) == ("learned", "pro")]
    assert (first["difference"], first["p_value"]) == (line["difference"], line["always_valid"]["p_value"])
    known = sorted(one["p_value"] for one in report["segments"] if one["p_value"] is not None)
    assert first["adjusted_p_value"] == pytest.approx(len(known) * known[0])
    assert not [one for one in report["segments"] if one["segment"] == "free" and one["differs"]]
    ranks = [(one["differs"], one["p_value"] is not None) for one in report["segments"]]
    assert ranks == sorted(ranks, reverse=True)


def test_the_findings_say_it_in_words(report: dict[str, Any]) -> None:
    text = " ".join(report["findings"])
    assert "The predictions of the reward use plan" in text
    assert "Where plan is pro, b earns 0." in text and "more than the choice of control" in text
    assert "Where plan is free" not in text
    assert (
        "Where plan is pro, Reward per decision is 0." in text
        and "higher in arm learned than in control" in text
        and "also after correction for" in text
    )


def test_the_page_draws_it_and_the_api_and_the_report_have_it(
    report: dict[str, Any], viewer: Browser, client: Client
) -> None:
    page = viewer.get(PAGE)
    assert page.status == 200 and page.html.count("<figure") == 5
    for sentence in report["findings"] + report["assumptions"]:
        assert " ".join(sentence.split()) in page.text
    assert "pro: b (earns more)" in page.text and "Numbers are cut at their quartiles" in page.text
    answer = client.get("/v1/experiments/whom/what-works-for-whom")
    assert answer.status == 200 and answer.body["findings"] == report["findings"]
    sent = viewer.get("/admin/experiments/whom/report?show=1")
    assert report["findings"][1] in sent.text and "pro: b (earns more)" in sent.text
    assert client.get("/v1/experiments/nobody/what-works-for-whom").status == 404


def test_only_decisions_that_are_settled_in_every_arm_count(lab: Lab) -> None:
    """One arm that waits for its round would look as if it were chosen less."""
    lab.make("waits", arms=arms(0.5, 0.3, 0.2), control_arm="control")
    lab.play("waits", bodies(400, "before-"), world(1))
    lab.play("waits", bodies(400, "after-"), world(2), settled=False)
    ((number,),) = query(lab.database_url, "SELECT id FROM experiments WHERE key = 'waits'")
    lab.close_windows(number)
    lab.settle_arm(number, "control")
    found = whom.get(lab.runtime.engine, lab.settings, "waits")
    assert found.window.decisions == 360
    lab.settle("waits")
    whom.compute(lab.runtime.engine, lab.settings, "waits")
    assert whom.stored(lab.runtime.engine, "waits").window.decisions == 720


def test_a_short_log_says_why_and_an_empty_one_that_there_is_nothing(lab: Lab, viewer: Browser) -> None:
    lab.make("short", arms=arms(0.5, 0.3, 0.2), control_arm="control")
    page = "/admin/experiments/short/what-works-for-whom"
    assert "This report appears once decisions are settled" in viewer.get(page).text
    lab.play("short", bodies(50, "u"), world(1))
    found = whom.get(lab.runtime.engine, lab.settings, "short")
    assert found.computed_at is not None and found.reason.startswith("the log has fewer than 100 settled decisions")
    assert found.findings == ["No context field is declared under segments, so that arms are not compared by segment."]
    assert "There are no figures of actions and features: the log has fewer" in viewer.get(page).text


def test_long_logs_wait_for_the_worker_and_are_read_in_part(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.make("long", arms=arms(0.5, 0.3, 0.2), control_arm="control")
    lab.play("long", bodies(600, "u"), world(1))
    monkeypatch.setattr(newest, "SMALL", 599)
    assert whom.get(lab.runtime.engine, lab.settings, "long").computed_at is None
    monkeypatch.setattr(window, "PAIRS", 900)  # of three actions each
    whom.compute(lab.runtime.engine, lab.settings, "long")
    found = whom.get(lab.runtime.engine, lab.settings, "long")
    assert (found.window.limit, found.window.decisions) == (300, 270)
    assert [one.field for one in found.fields] and found.segments == []


def test_undeclared_fields_are_the_most_frequent_and_actions_without_a_choice_are_refused(lab: Lab) -> None:
    """Without a learner and a uniform arm, the log cannot tell of the actions that nobody could have got."""
    lab.make("fixed", arms=[arm("control", 0.5, "a"), arm("other", 0.5, "b")], control_arm="control")
    lab.play("fixed", [one | {"context": one["context"] | {"same": 1}} for one in bodies(600, "u")], world(1))
    found = whom.get(lab.runtime.engine, lab.settings, "fixed")
    assert {one.field for one in found.fields} == {"plan", "colour", "age"}
    (plan,) = [one for one in found.fields if one.field == "plan"]
    assert found.arms == ["other"] and [action.action for action in plan.values[0].actions] == ["b"]
    assert plan.values[0].actions[0].difference is not None and found.other_actions == 2


def test_decisions_count_since_a_model_version_was_forgotten(lab: Lab) -> None:
    lab.make("forgot", arms=arms(0.5, 0.3, 0.2), control_arm="control")
    for turn in range(2):
        lab.play("forgot", bodies(200, f"u{turn}-"), world(turn))
    ((number,),) = query(lab.database_url, "SELECT id FROM experiments WHERE key = 'forgot'")
    forget = "UPDATE model_versions SET model = '', erased_at = now() WHERE number = 1 AND experiment_id = %s"
    query(lab.database_url, forget, number)
    found = whom.get(lab.runtime.engine, lab.settings, "forgot")
    assert "since a model version was last forgotten" in found.reason and found.fields == []
    lab.play("forgot", bodies(300, "after-"), world(3))
    whom.compute(lab.runtime.engine, lab.settings, "forgot")
    found = whom.stored(lab.runtime.engine, "forgot")
    assert found.reason == "" and 270 <= found.window.decisions < 450


def test_hostile_names_are_text(lab: Lab, viewer: Browser) -> None:
    hostile = "<script src=x>\"'&"
    lab.make("evil", arms=arms(0.5, 0.3, 0.2), control_arm="control", segments=[hostile])
    rows = [{"unit_id": f"e{n}", "context": {hostile: (hostile, "<b>")[n % 2]}} for n in range(300)]
    lab.play("evil", rows, world_of_b)
    whom.compute(lab.runtime.engine, lab.settings, "evil")
    page = viewer.get("/admin/experiments/evil/what-works-for-whom")
    assert page.status == 200 and "<script src=x" not in page.html and "<b>" not in page.html


def world_of_b(body: dict[str, Any], one: dict[str, Any]) -> float:
    return float((int(body["unit_id"][1:]) * 7 + (3 if one["action"]["id"] == "b" else 0)) % 10 < 5)


def test_actions_of_the_call_have_features(lab: Lab) -> None:
    lab.make("calls", actions=[], arms=arms(0.5, 0.0, 0.5)[1:], control_arm="even")
    items = [{"id": f"n{n}", "features": {"price": n}} for n in range(4)]
    rows = [{"unit_id": f"c{n}", "context": {"plan": "xy"[n % 2]}, "actions": items} for n in range(400)]
    random = np.random.default_rng(3)
    lab.play("calls", rows, lambda _, one: float(random.random() < (0.8 if one["action"]["id"] == "n3" else 0.2)))
    found = whom.get(lab.runtime.engine, lab.settings, "calls")
    assert {(line.side, line.feature) for line in found.importance} == {
        ("context", "plan"),
        ("action", None),
        ("action", "price"),
    }
    actions = {action.action: action.value for action in found.fields[0].values[0].actions}
    assert set(actions) == {"n0", "n1", "n2", "n3"} and max(actions, key=lambda name: actions[name] or 0.0) == "n3"


def test_of_lists_the_first_position_counts(lab: Lab) -> None:
    lab.make("listing", arms=arms(0.5, 0.0, 0.5)[1:], control_arm="even")
    rows = [{"unit_id": f"l{n}", "context": {"plan": "xy"[n % 2]}, "slots": 2} for n in range(300)]
    random = np.random.default_rng(3)
    answers = lab.play("listing", rows, settled=False)
    positions = [position for answer in answers for position in answer["positions"]]
    lab.report([{"decision_id": one["decision_id"], "value": float(random.random() < 0.4)} for one in positions])
    lab.settle("listing")
    found = whom.get(lab.runtime.engine, lab.settings, "listing")
    assert found.window.decisions == 270 and found.window.units == 270
