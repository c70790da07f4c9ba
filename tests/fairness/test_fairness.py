"""The report on the log of two arms, of which one treats a group badly and narrows what people see."""

from typing import Any

import numpy as np
import pytest

from app.fairness import report
from tests.lab import Lab, arm
from tests.page_client import Browser
from tests.service import Client, query

ACTIONS = [
    {"id": "a", "features": {"supplier": "north", "price": 1}},
    {"id": "b", "features": {"supplier": "north", "price": 2}},
    {"id": "c", "features": {"supplier": "south", "price": 3}},
]
ARMS = [arm("control", 0.5), arm("favourite", 0.5, "a")]
PAGE = "/admin/experiments/fair/fairness"
UNITS, EACH = 700, 10


@pytest.fixture(scope="module")
def fair(lab: Lab) -> dict[str, Any]:
    """People on plan free earn less everywhere, and nothing at all from action a."""
    random = np.random.default_rng(2)
    lab.make("fair", actions=ACTIONS, arms=ARMS, control_arm="control", segments=["plan"])
    plans = ["free" if random.random() < 0.4 else "paid" for _ in range(UNITS)]
    for _ in range(EACH):
        lab.play(
            "fair",
            [{"unit_id": f"u{n}", "context": {"plan": plans[n]}} for n in range(UNITS)],
            lambda body, answer: float(random.random() < _chance(body["context"]["plan"], answer["action"]["id"])),
            settled=False,
        )
    lab.settle("fair")
    report.compute(lab.runtime.engine, lab.settings, "fair")
    return report.stored(lab.runtime.engine, "fair").as_json()


def _chance(plan: str, action: str) -> float:
    return {"free": {"a": 0.05}, "paid": {"a": 0.6}}[plan].get(action, 0.3 if plan == "free" else 0.5)


def test_exposure_is_the_mean_of_the_logged_distributions(lab: Lab, fair: dict[str, Any]) -> None:
    lines = {(line["arm"], line["by"]): line for line in fair["exposure"]}
    assert set(lines) == {(name, by) for name in ("control", "favourite") for by in ("action", "supplier")}
    uniform, single = lines["control", "action"], lines["favourite", "action"]
    assert [share["exposed"] for share in uniform["shares"]] == pytest.approx([1 / 3] * 3)
    assert uniform["gini"] == pytest.approx(0.0, abs=1e-9) and uniform["coverage"] == 1.0
    assert single["gini"] == pytest.approx(2 / 3) and single["coverage"] == pytest.approx(1 / 3)
    assert {share["name"]: share["exposed"] for share in lines["control", "supplier"]["shares"]} == pytest.approx(
        {"north": 2 / 3, "south": 1 / 3}
    )
    drawn = query(
        lab.database_url,
        "SELECT avg((eligible[chosen + 1] = 'c')::int)::float8 FROM decisions d JOIN experiments e ON e.id = d.experiment_id"
        " WHERE e.key = 'fair' AND arm = 'control'",
    )[0][0]
    assert next(share["drawn"] for share in uniform["shares"] if share["name"] == "c") == pytest.approx(drawn)


def test_only_the_gap_beyond_the_world_s_own_is_blamed_on_the_arm(lab: Lab, fair: dict[str, Any]) -> None:
    assert fair["reference"] == "control"
    (gap,) = fair["gaps"]
    assert gap["group"] == "free", "of two groups, the one that does worse is reported"
    assert gap["arm"] == "favourite" and gap["differs"]
    assert gap["reference_gap"] == pytest.approx(-0.32, abs=0.08) and gap["excess"] == pytest.approx(-0.23, abs=0.1)
    outcomes = lab.outcomes("fair")
    outcomes["plan"] = [context["plan"] for context in outcomes.context]
    means = outcomes[outcomes.arm == "favourite"].groupby("plan").reward.mean()
    assert gap["gap"] == pytest.approx(means["free"] - means["paid"])
    assert gap["interval"]["low"] < gap["excess"] < gap["interval"]["high"] < 0
    assert any("plan = free earn" in sentence and "less per decision" in sentence for sentence in fair["findings"])


def test_predictions_are_compared_with_rewards_by_group(fair: dict[str, Any]) -> None:
    lines = {line["group"]: line for line in fair["calibration"]}
    assert set(lines) == {"free", "paid"}
    for line in lines.values():
        assert line["interval"]["low"] < line["predicted"] - line["realised"] < line["interval"]["high"]


def test_curves_follow_each_person_from_the_first_stage_to_the_last(fair: dict[str, Any]) -> None:
    curves = {(curve["arm"], curve["by"]): curve for curve in fair["paths"]}
    control, single = curves["control", "action"], curves["favourite", "action"]
    assert [stage["entropy"] for stage in control["stages"]] == pytest.approx([1.0, 1.0])
    assert [stage["entropy"] for stage in single["stages"]] == [0.0, 0.0]
    assert single["stages"][1]["repeats"] == 1.0 and control["stages"][1]["repeats"] == pytest.approx(1 / 3, abs=0.05)
    assert sum(curves[name, "action"]["people"] for name in ("control", "favourite")) == UNITS
    assert not any(curve["narrows"] for curve in fair["paths"]), "neither changes"


def test_the_api_and_the_page_show_the_same(lab: Lab, fair: dict[str, Any], client: Client, viewer: Browser) -> None:
    answer = client.get("/v1/experiments/fair/fairness")
    assert answer.status == 200 and answer.body["gaps"] == fair["gaps"]
    assert client.get("/v1/experiments/nobody/fairness").status == 404
    page = viewer.get(PAGE)
    assert page.html.count("<figure") == 5
    assert "filter-bubble curve" in page.text and "plan = free" in page.text


def test_a_bubble_is_seen_on_the_curve(lab: Lab) -> None:
    """From each person's sixth decision on an arm shows almost only one action, and the control does not."""
    lab.make(
        "bubble", actions=ACTIONS, arms=[arm("control", 0.5), arm("closing", 0.5, "uniform")], control_arm="control"
    )
    bodies = [{"unit_id": f"b{n}"} for n in range(300)]
    for _ in range(10):
        lab.play("bubble", bodies, lambda *_: 1.0, settled=False)
    lab.settle("bubble")
    narrow(lab, "bubble")
    report.compute(lab.runtime.engine, lab.settings, "bubble")
    read = report.stored(lab.runtime.engine, "bubble")
    curve = next(curve for curve in read.paths if curve.arm == "closing" and curve.by == "action")
    assert curve.narrows and curve.excess is not None and curve.excess < -0.3
    assert any("Arm closing narrows" in sentence for sentence in read.findings)


def narrow(lab: Lab, key: str) -> None:
    """Make the later half of an arm's log that of a policy which each person's habit narrowed, each to another degree."""
    query(
        lab.database_url,
        """
        UPDATE decisions d SET distribution = ARRAY[1 - 2 * e.rest, e.rest, e.rest] FROM (
            SELECT id, experiment_id, (1 + hashtext(unit_id) & 7) / 100.0 AS rest,
                row_number() OVER (PARTITION BY unit_id ORDER BY decided_at, id) AS place
            FROM decisions WHERE arm = 'closing' AND experiment_id = (SELECT id FROM experiments WHERE key = %s)
        ) e WHERE e.id = d.id AND e.experiment_id = d.experiment_id AND e.place > 5
        """,
        key,
    )


def test_an_empty_log_a_log_without_fields_and_hostile_features_make_a_report(
    lab: Lab, client: Client, viewer: Browser
) -> None:
    lab.make("nothing", actions=ACTIONS, arms=ARMS, control_arm="control", segments=["plan"])
    empty = client.get("/v1/experiments/nothing/fairness")
    assert empty.status == 200 and empty.body["exposure"] == [] and empty.body["computed_at"]
    assert viewer.get("/admin/experiments/nothing/fairness").status == 200
    lab.make("own", actions=[], arms=[arm("control", 0.5), arm("other", 0.5)], control_arm="control", segments=["plan"])
    assert "once decisions are settled" in viewer.get("/admin/experiments/own/fairness").text
    odd = "<b>& \" '=:|*/%"
    bodies = [
        {
            "unit_id": f"o{n}",
            "context": {"plan": odd if n % 2 else None},
            "actions": [
                {"id": "x", "features": {odd: "1"}},
                {"id": odd, "features": {odd: "2", "n": None}},
                {"id": "y"},
            ],
        }
        for n in range(40)
    ]
    lab.play("own", bodies, lambda *_: 0.0)
    answer = client.get("/v1/experiments/own/fairness")
    assert answer.status == 200 and {line["by"] for line in answer.body["exposure"]} == {"action"}
    page = viewer.get("/admin/experiments/own/fairness")
    assert page.status == 200 and "<b>&" not in page.html
    assert any("effective users" in gap["interval"]["reason"] for gap in answer.body["gaps"])
