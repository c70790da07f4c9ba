"""Covariates from before a unit was assigned: from its context, or from what it earned in other experiments."""

from typing import Any

import numpy as np
import pytest

from tests.lab import AB, Lab
from tests.service import move_decisions


def line(report: dict[str, Any], metric: str) -> dict[str, Any]:
    (found,) = (each for each in report["metrics"] if each["metric"] == metric)
    (comparison,) = found["comparisons"]
    return dict(comparison)


def metrics(covariate: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"key": "plain", "role": "primary", "source": {"type": "reward"}}
    return [plain, {"key": "adjusted", "source": {"type": "reward"}, "covariate": covariate}]


def test_a_number_of_the_first_context_takes_its_part_out_of_the_noise(lab: Lab) -> None:
    random = np.random.default_rng(1)
    reward = {"window_s": 600.0, "min": 0.0, "max": 100.0}
    field = {"type": "context", "field": "spent_before"}
    lab.make("covariate", arms=AB, control_arm="control", reward=reward, metrics=metrics(field))
    good = random.gamma(4.0, 2.0, 400)
    contexts: list[dict[str, Any]] = [{"spent_before": float(value)} for value in good]
    for index, odd in enumerate(("a text", None, True)):  # no number that can be used: counts as the mean
        contexts[index] = {"spent_before": odd}
    contexts[3] = {}
    bodies = [{"unit_id": f"u{number}", "context": context} for number, context in enumerate(contexts)]

    def earned(body: dict[str, Any], decided: dict[str, Any]) -> float:
        number = int(body["unit_id"][1:])
        return float(np.clip(2 * good[number] + (decided["arm"] == "treated") + random.normal(), 0, 100))

    lab.play("covariate", bodies, earned)
    # Later contexts may be the arm's own doing: they must not count.
    lab.play("covariate", [body | {"context": {"spent_before": 1e6}} for body in bodies[:50]], earned)
    report = lab.results("covariate")
    plain, adjusted = line(report, "plain"), line(report, "adjusted")
    assert adjusted["covariate"]["units"] == 396
    assert adjusted["covariate"]["correlation"] > 0.9 and plain["covariate"] is None
    assert adjusted["std_error"] < 0.5 * plain["std_error"]
    assert adjusted["interval"]["low"] < 1.0 < adjusted["interval"]["high"]
    ends = adjusted["always_valid"]["interval"]
    assert ends["high"] - ends["low"] < 0.5 * sum(
        plain["always_valid"]["interval"][e] * s for e, s in (("high", 1), ("low", -1))
    )


def test_what_a_unit_earned_elsewhere_before_takes_its_part_out_of_the_noise(lab: Lab) -> None:
    random = np.random.default_rng(2)
    good = random.random(300)
    people = [{"unit_id": f"h{number}"} for number in range(300)]

    def earned(body: dict[str, Any], decided: dict[str, Any]) -> float:
        return float(random.random() < good[int(body["unit_id"][1:])])

    lab.make("elsewhere", arms=AB)
    for _ in range(8):
        lab.play("elsewhere", people, earned)
    lab.age("elsewhere", 3.0)
    lab.make("history", arms=AB, control_arm="control", metrics=metrics({"type": "history", "days": 7}))
    lab.play(
        "history", [*people, {"unit_id": "new"}], lambda body, _: 0.5 if body["unit_id"] == "new" else earned(body, _)
    )
    adjusted = line(lab.results("history"), "adjusted")
    assert adjusted["covariate"]["units"] == 301, "a unit that never was elsewhere earned nothing there"
    assert 0.3 < adjusted["covariate"]["correlation"] < 0.8
    elsewhere = "d.experiment_id = (SELECT e.id FROM experiments e WHERE e.key = 'elsewhere')"
    move_decisions(lab.database_url, "d.decided_at - interval '30 days'", elsewhere)
    assert "does not vary" in line(lab.results("history"), "adjusted")["interval"]["reason"]


@pytest.mark.parametrize("arms", [3, 2])
def test_the_interval_for_all_deciding_comparisons_is_stated_beside_each(lab: Lab, arms: int) -> None:
    three = [one | {"share": 1 / arms} for one in [*AB, {"key": "more", "policy": {"type": "uniform"}}][:arms]]
    random = np.random.default_rng(3)
    key = f"simultaneous{arms}"
    lab.make(key, arms=three, control_arm="control")
    lab.play(key, [{"unit_id": f"u{number}"} for number in range(900)], lambda *_: float(random.random() < 0.3))
    for each in lab.results(key)["metrics"][0]["comparisons"]:
        sequence = each["always_valid"]
        wider = sequence["simultaneous_interval"]["high"] > sequence["interval"]["high"]
        assert wider is (arms == 3), "one comparison needs no correction"
