"""Quantiles over units: the database's figures equal numpy's, and shares that change are refused in words."""

from typing import Any

import numpy as np
import pytest

from experiments.arms.comparison import compare_quantiles
from tests.lab import AB, Lab, arm

SLOWEST = {"key": "slow", "role": "primary", "source": {"type": "quantile", "metric": "seconds", "quantile": 0.8}}


def seconds(lab: Lab, key: str, random: np.random.Generator, people: list[str]) -> dict[str, dict[str, float]]:
    """Plays units with waiting times; returns the sum of each unit, by arm."""
    answers = lab.play(key, [{"unit_id": unit} for unit in people], settled=False)
    sums: dict[str, dict[str, float]] = {"control": {}, "treated": {}}
    events = []
    for unit, answer in zip(people, answers, strict=True):
        waited = float(random.lognormal(0.0, 1.0) * (1.6 if answer["arm"] == "treated" else 1.0))
        events.append({"decision_id": answer["decision_id"], "metric": "seconds", "value": waited})
        of_arm = sums[answer["arm"]]
        of_arm[unit] = of_arm.get(unit, 0.0) + waited
    lab.report(events)
    lab.settle(key)
    return sums


def test_the_quantile_and_its_comparison_equal_those_of_the_raw_values(lab: Lab) -> None:
    random = np.random.default_rng(1)
    lab.make("quantile", arms=AB, control_arm="control", metrics=[SLOWEST])
    people = [f"u{number % 600}" for number in range(900)]
    sums = seconds(lab, "quantile", random, people)
    report = lab.results("quantile", method="fixed")
    (metric,) = (each for each in report["metrics"] if each["metric"] == "slow")
    arms = [np.array(list(sums[name].values())) for name in ("control", "treated")]
    for row, values in zip(metric["arms"], arms, strict=True):
        assert row["value"] == pytest.approx(np.quantile(values, 0.8)) and row["units"] == len(values)
    known = compare_quantiles(arms[0], arms[1], 0.8)
    (line,) = metric["comparisons"]
    assert line["difference"] == pytest.approx(known.difference)
    assert line["p_value"] == pytest.approx(known.p_value)
    assert line["interval"]["low"] == pytest.approx(known.interval.low)
    sequence = line["always_valid"]["interval"]
    assert sequence["low"] < line["interval"]["low"] and sequence["high"] > line["interval"]["high"]
    assert report["decision"]["verdict"] in ("keep_running", "ship")


def test_a_quantile_over_changed_shares_is_refused_with_the_reason(lab: Lab) -> None:
    lab.make("quantile-ramp", arms=AB, control_arm="control", metrics=[SLOWEST])
    random = np.random.default_rng(2)
    seconds(lab, "quantile-ramp", random, [f"u{number}" for number in range(100)])
    lab.change("quantile-ramp", arms=[arm("control", 0.2, "a"), arm("treated", 0.8)])
    seconds(lab, "quantile-ramp", random, [f"v{number}" for number in range(100)])
    (metric,) = (each for each in lab.results("quantile-ramp")["metrics"] if each["metric"] == "slow")
    (line,) = metric["comparisons"]
    assert "not combined over changes of the arms' shares" in line["interval"]["reason"]


def test_a_few_units_give_reasons_instead_of_numbers(lab: Lab) -> None:
    lab.make("quantile-few", arms=AB, control_arm="control", metrics=[SLOWEST], segments=["plan"])
    random = np.random.default_rng(3)
    seconds(lab, "quantile-few", random, [f"u{number}" for number in range(30)])
    found: list[dict[str, Any]] = lab.results("quantile-few")["metrics"]
    (metric,) = (each for each in found if each["metric"] == "slow")
    assert "units of an arm lie beyond the quantile" in metric["comparisons"][0]["interval"]["reason"]
    split = lab.results("quantile-few", segment="plan")["metrics"]
    (metric,) = (each for each in split if each["metric"] == "slow")
    assert {row["segment"] for row in metric["arms"]} == {""}
