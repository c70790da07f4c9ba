"""The report on feedback, against the same figures from the raw log with other tools."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from app.registry import newest
from app.reporting import feedback_report, results
from tests.lab import AB, Lab, sound
from tests.learning.feedback_support import apply, say
from tests.service import query

SCHEMA = {
    "thumbs": {"up": 1.0, "down": 0.0},
    "stars": [0.0, 0.25, 0.5, 0.75, 1.0],
    "confidence": 0.5,
    "limit": 10_000,
}
UNITS = 120


@pytest.fixture(scope="module")
def told(lab: Lab) -> pd.DataFrame:
    """Four decisions of each unit; moods that last; who is content clicks, answers more, and gives more stars."""
    lab.make("told", arms=AB, feedback=SCHEMA, segments=["plan"], reward={"window_s": 600.0, "aggregation": "mean"})
    rng = np.random.default_rng(5)
    mood = rng.normal(size=UNITS)
    bodies = [
        {"unit_id": f"told-{n % UNITS}", "context": {"plan": ("free", "pro", None)[n % UNITS % 3]}}
        for n in range(4 * UNITS)
    ]
    lines, answers, events = [], [], []
    for n, one in enumerate(lab.play("told", bodies, settled=False)):
        at = mood[n % UNITS]
        click = float(at + rng.normal() > 0)
        if rng.random() < 0.9:
            events.append({"decision_id": one["decision_id"], "value": click})
        else:
            click = 0.0
        stars = int(np.clip(round(3 + at + rng.normal()), 1, 5)) if at + rng.normal() > 0.2 else None
        if stars is not None:
            answers.append({"decision_id": one["decision_id"], "kind": "stars", "value": stars})
        lines.append((f"told-{n % UNITS}", one["arm"], bodies[n]["context"]["plan"], click, stars))
    lab.report(events)
    say(lab, answers)
    lab.settle("told")
    assert feedback_report.compute(lab.runtime.engine, "told")
    return pd.DataFrame(lines, columns=["unit", "arm", "plan", "click", "stars"])


def report(lab: Lab, key: str = "told") -> dict[str, Any]:
    return dict(sound(feedback_report.get(lab.runtime.engine, key).as_json()))


def group(found: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next(one for one in found["groups"] if (one["group"], one["name"]) == (kind, name))


def test_the_figures_are_those_of_the_raw_log(lab: Lab, told: pd.DataFrame) -> None:
    found = report(lab)
    cells = [("all", "", told), ("arm", "control", told[told.arm == "control"])]
    cells += [("segment", "free", told[told.plan == "free"]), ("segment", "", told[told.plan.isna()])]
    for kind, name, part in cells:
        cell = group(found, kind, name)
        both = part[part.stars.notna()]
        assert cell["rate"]["decisions"] == len(part)
        assert cell["rate"]["rate"] == pytest.approx(part.stars.notna().mean())
        assert cell["agreement"]["decisions"] == len(both)
        assert cell["agreement"]["correlation"] == pytest.approx(stats.spearmanr(both.click, both.stars).statistic)
        assert cell["bias"]["mean_answered"] == pytest.approx(both.click.mean())
        assert cell["bias"]["mean_silent"] == pytest.approx(part[part.stars.isna()].click.mean())
    overall = found["groups"][0]
    assert overall["agreement"]["interval"]["low"] > 0 and overall["bias"]["interval"]["low"] > 0
    assert found["kinds"] == [
        {
            "kind": "stars",
            "answers": int(told.stars.notna().sum()),
            "late": 0,
            "arms": told[told.stars.notna()].arm.value_counts().sort_index().to_dict(),
        }
    ]
    assert (found["window"]["decisions"], found["window"]["units"]) == (4 * UNITS, UNITS)
    assert (found["in_force"]["version"], found["in_force"]["being_computed"]) == (1, None)


def test_a_newer_schema_is_announced_and_then_in_force(lab: Lab, told: pd.DataFrame) -> None:
    lab.change("told", feedback=SCHEMA | {"stars": [1.0, 0.75, 0.5, 0.25, 0.0]})
    found = report(lab)["in_force"]
    assert (found["version"], found["being_computed"]) == (1, 2)
    before = group(report(lab), "all", "")
    apply(lab)
    feedback_report.compute(lab.runtime.engine, "told")
    after = report(lab)
    assert (after["in_force"]["version"], after["in_force"]["being_computed"]) == (2, None)
    turned = group(after, "all", "")
    assert turned["agreement"]["correlation"] == pytest.approx(-before["agreement"]["correlation"])
    assert turned["bias"] == before["bias"]


def test_who_denies_analysis_is_in_no_figure(lab: Lab, told: pd.DataFrame) -> None:
    before = report(lab)
    query(lab.database_url, "INSERT INTO restrictions VALUES ('told-0', '{analyse}')")
    feedback_report.compute(lab.runtime.engine, "told")
    after = report(lab)
    query(lab.database_url, "DELETE FROM restrictions")
    mine = told[told.unit == "told-0"]
    assert after["window"]["decisions"] == before["window"]["decisions"] - len(mine)
    assert after["answers"] == before["answers"] - int(mine.stars.notna().sum())


def test_a_small_log_is_computed_when_asked_and_a_long_one_by_the_worker(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.make("asked", arms=AB, feedback=SCHEMA)
    (one,) = lab.play("asked", [{"unit_id": "u"}], settled=False)
    assert report(lab, "asked")["computed_at"] is None  # nobody answered
    say(lab, [{"decision_id": one["decision_id"], "kind": "thumbs", "value": "up"}])
    lab.settle("asked")
    monkeypatch.setattr(newest, "SMALL", 0)
    assert report(lab, "asked")["computed_at"] is None
    assert "asked" in feedback_report.compute_due(lab.runtime.engine, 0.0)
    found = report(lab, "asked")
    assert (found["answers"], found["groups"][0]["agreement"]["interval"]["reason"]) == (
        1,
        "one of the two signals never varies",
    )
    assert found["groups"][0]["rate"]["interval"]["reason"].startswith("only 1 units")


def test_results_follow_another_schema_and_its_p_values_begin_anew(lab: Lab) -> None:
    """Looks at rewards that were joined by other rules say nothing of these."""
    lab.make("anew", arms=AB, control_arm="control", feedback={"thumbs": {"up": 1.0, "down": 0.0}, "limit": 10_000})
    decided = lab.play("anew", [{"unit_id": f"anew-{n}"} for n in range(400)], settled=False)
    rng = np.random.default_rng(7)
    chance = {"control": 0.2, "treated": 0.8}
    thumbs = [
        {
            "decision_id": one["decision_id"],
            "kind": "thumbs",
            "value": "up" if rng.random() < chance[one["arm"]] else "down",
        }
        for one in decided
    ]
    say(lab, thumbs)
    lab.settle("anew")
    engine = lab.runtime.engine
    assert "anew" in results.compute_stale(engine, 0.0)
    first = lab.results("anew", fresh=False)
    assert first["feedback_version"] == 1 and _line(first)["difference"] > 0.5
    assert _line(first)["running_p"] < 1e-6
    query(lab.database_url, "UPDATE reports SET computed_at = computed_at - interval '30 seconds'")
    assert "anew" not in results.compute_stale(engine, 0.0)
    lab.change("anew", feedback={"thumbs": {"up": 0.5, "down": 0.5}, "limit": 10_000})
    apply(lab)
    query(lab.database_url, "UPDATE reports SET computed_at = computed_at - interval '5 minutes'")
    assert "anew" in results.compute_stale(engine, 0.0)
    second = lab.results("anew", fresh=False)
    assert (second["feedback_version"], _line(second)["difference"]) == (2, 0.0)
    assert (
        _line(second)["running_p"] is None
    )  # nothing varies any more: there is no p-value, and no older one in its place


def _line(found: dict[str, Any]) -> dict[str, Any]:
    return dict(found["metrics"][0]["comparisons"][0])
