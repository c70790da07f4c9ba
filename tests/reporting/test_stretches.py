"""Changes of the shares: what two identical arms look like, whom a change moves, and what counts of whom."""

from typing import Any

import numpy as np
import pytest

from app.reporting.comparison import stretches
from app.reporting.comparison.stretches import Stretch
from bandits.distribution import assign
from tests.lab import AB, Lab, arm


def arms(treated: float) -> list[dict[str, Any]]:
    return [arm("control", 1 - treated, "a"), arm("treated", treated, "a")]


def people(count: int, name: str) -> list[dict[str, Any]]:
    return [{"unit_id": f"{name}-{number}"} for number in range(count)]


def comparison(report: dict[str, Any], metric: str = "reward") -> dict[str, Any]:
    (found,) = (each for each in report["metrics"] if each["metric"] == metric)
    (line,) = found["comparisons"]
    return dict(line)


def test_a_ramp_over_a_moving_base_rate_makes_no_winner_of_identical_arms(lab: Lab) -> None:
    """Pooled over the ramp the arms differ by about 0.2, because most of the treated came when the rate was high."""
    random = np.random.default_rng(1)
    lab.make("aa-ramp", arms=arms(0.1), control_arm="control")
    lab.play("aa-ramp", people(1500, "weekday"), lambda *_: float(random.random() < 0.1))
    lab.change("aa-ramp", arms=arms(0.5))
    lab.play("aa-ramp", people(1500, "weekend"), lambda *_: float(random.random() < 0.5))
    report = lab.results("aa-ramp")
    line = comparison(report)
    assert line["interval"]["low"] < 0 < line["interval"]["high"]
    assert line["running_p"] > 0.01 and report["decision"]["verdict"] == "keep_running"
    assert [stretch["shares"] for stretch in report["stretches"]] == [
        {"control": 0.9, "treated": 0.1},
        {"control": 0.5, "treated": 0.5},
    ]
    (metric,) = report["metrics"]
    values = {row["arm"]: row["value"] for row in metric["arms"]}
    assert values["treated"] - values["control"] == pytest.approx(line["difference"]), "the table and the line agree"


def test_a_real_effect_is_found_through_a_ramp(lab: Lab) -> None:
    random = np.random.default_rng(2)
    lab.make("real-ramp", arms=arms(0.1), control_arm="control")

    def reward(base: float) -> Any:
        return lambda _, decided: float(random.random() < base + 0.2 * (decided["arm"] == "treated"))

    lab.play("real-ramp", people(1500, "early"), reward(0.1))
    lab.change("real-ramp", arms=arms(0.5))
    lab.play("real-ramp", people(1500, "late"), reward(0.5))
    line = comparison(lab.results("real-ramp"))
    assert line["interval"]["low"] < 0.2 < line["interval"]["high"] and line["interval"]["low"] > 0


def test_adding_an_arm_changes_nothing_between_the_others(lab: Lab) -> None:
    """Both lose the same part of their units to the new arm, so that they stay one stratum and lose no comparison."""
    random = np.random.default_rng(3)
    lab.make("added", arms=arms(0.5), control_arm="control")
    lab.play("added", people(800, "before"), lambda *_: float(random.random() < 0.1))
    lab.change("added", arms=[*(one | {"share": 0.4} for one in arms(0.5)), arm("new", 0.2, "b")])
    lab.play("added", people(800, "after"), lambda *_: float(random.random() < 0.6))
    report = lab.results("added")
    lines = {line["arm"]: line for line in report["metrics"][0]["comparisons"]}
    for line in lines.values():
        assert line["interval"]["low"] < 0 < line["interval"]["high"], line
    assert set(lines["new"]["units"]) == {"control", "new"}
    assert lines["new"]["units"]["new"] < 300, "the new arm is compared with the control's units of its own time"


def test_units_that_the_change_moves_are_left_out_whether_they_return_or_not(lab: Lab) -> None:
    """Left out only when they return, they would leave the control with those who never return."""
    retention = {"key": "back", "role": "primary", "source": {"type": "retention", "days": 1.0}}
    lab.make("returning", arms=arms(0.1), control_arm="control", metrics=[retention])
    everybody = people(600, "u")
    lab.play("returning", everybody, lambda *_: 1.0)
    lab.age("returning", 1.5)
    lab.change("returning", arms=arms(0.5))
    lab.play("returning", [body for number, body in enumerate(everybody) if number % 2], lambda *_: 1.0)
    lab.age("returning", 1.0)
    report = lab.results("returning")
    line = comparison(report, "back")
    values = {row["arm"]: row["value"] for row in report["metrics"][1]["arms"]}
    assert report["metrics"][1]["metric"] == "back"
    assert values["control"] == pytest.approx(0.5, abs=0.1), values
    assert line["interval"]["low"] < 0 < line["interval"]["high"]
    moved = report["moved_units"]
    assert 0.15 < moved["share"] < 0.3, "four ninths of the control, half of whom returned"
    assert moved["left_out"] > 1.7 * moved["moved"]


def test_the_chance_to_keep_an_arm_is_that_of_the_hash() -> None:
    """Stated in closed form, and counted over units that the real hash assigns."""
    ramp = [
        Stretch(1, {"c": 0.9, "t": 0.1}),
        Stretch(2, {"c": 0.6, "t": 0.25, "x": 0.15}),
        Stretch(3, {"c": 0.5, "t": 0.5}),
    ]
    kept = {"c": 0, "t": 0}
    for number in range(20_000):
        chosen = {assign(b"salt" * 8, f"u{number}", stretch.shares) for stretch in ramp}
        if len(chosen) == 1:
            kept[chosen.pop()] += 1
    share = kept["t"] / (kept["c"] + kept["t"])
    assert share == pytest.approx(stretches.chance(ramp, ("t", "c"), 0, 3), abs=0.01)
    assert stretches.chance(ramp[:1], ("t", "c"), 0, 1) == pytest.approx(0.1)


def test_units_count_as_long_as_both_arms_get_units() -> None:
    ramp = [
        Stretch(1, {"c": 1.0}),
        Stretch(2, {"c": 0.5, "t": 0.5}),
        Stretch(3, {"c": 0.4, "t": 0.6}),
        Stretch(4, {"t": 1.0}),
    ]
    assert stretches.ends(ramp, ("t", "c")).by_stretch == (0, 3, 3, 0)
    assert stretches.ends(ramp, ("c",)).by_stretch == (3, 3, 3, 0)
    assert stretches.ends(ramp, ("t",)).by_stretch == (0, 4, 4, 4)


def test_an_experiment_of_constant_shares_is_one_stretch_through_changes_of_anything_else(lab: Lab) -> None:
    lab.make("renamed", arms=AB, control_arm="control")
    lab.change("renamed", name="Another name")
    lab.play("renamed", people(40, "u"), lambda *_: 1.0)
    report = lab.results("renamed")
    assert [stretch["first_version"] for stretch in report["stretches"]] == [1]
    assert report["moved_units"] is None
