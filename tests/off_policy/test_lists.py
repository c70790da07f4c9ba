"""Off-policy values of an experiment that answers ranked lists: of whole lists, never of one position alone."""

from typing import Any

import numpy as np
import pytest

from app.off_policy import candidate_policies
from app.off_policy.evaluation_request import CandidateSpec
from tests.lab import Lab, arm
from tests.off_policy.test_evaluations import BANDIT, ask

WORTH = {"a": 0.6, "b": 0.2, "c": 0.2}
UNDER_A = 0.1  # below a, people look at little else


def chance(name: str, above: list[str]) -> float:
    return WORTH[name] * (UNDER_A if "a" in above else 1.0)


@pytest.fixture(scope="module")
def listed(lab: Lab) -> str:
    lab.make("lists", arms=[arm("learned", 0.5, BANDIT), arm("even", 0.5)], control_arm="even")
    random = np.random.default_rng(3)
    for turn in range(3):
        bodies: list[dict[str, Any]] = [
            {"unit_id": f"reader-{turn}-{n}", "context": {"group": "xy"[n % 2]}, "slots": 2} for n in range(500)
        ]
        answers = lab.play("lists", bodies, settled=False)
        rewards = []
        for answer in answers:
            above: list[str] = []
            for position in answer["positions"]:
                name = position["action"]["id"]
                value = float(random.random() < chance(name, above))
                rewards.append({"decision_id": position["decision_id"], "value": value})
                above.append(name)
        lab.report(rewards)
        lab.settle("lists")
    for key, policy in {
        "always-a": {"type": "fixed", "action": "a"},
        "always-b": {"type": "fixed", "action": "b"},
    }.items():
        spec = CandidateSpec.model_validate({"key": key, "policy": policy})
        candidate_policies.add(lab.runtime.engine, "lists", spec, "test")
    square = {"key": "square", "policy": BANDIT | {"algorithm": "squarecb", "parameters": {"bits": 12}}}
    candidate_policies.add(lab.runtime.engine, "lists", CandidateSpec.model_validate(square), "test")
    return "lists"


def truth(first: str | None) -> float:
    """The value of a list of two that begins with an action and goes on at random; without one, random from the start."""
    starts = [first] if first else list(WORTH)
    values = []
    for top in starts:
        rest = [name for name in WORTH if name != top]
        values.append(chance(top, []) + float(np.mean([chance(name, [top]) for name in rest])))
    return float(np.mean(values))


def test_lists_are_valued_as_a_whole_and_position_by_position(lab: Lab, listed: str) -> None:
    result = ask(lab, listed)["result"]
    lines = {line["policy"]: line for line in result["policies"]}
    assert "had the policy chosen every position" in result["estimand"]
    assert result["window"]["lists"] == 750 and result["window"]["evaluated_on"] == 1500
    for name, real in (("always-a", truth("a")), ("always-b", truth("b")), ("uniform", truth(None))):
        line = lines[name]
        assert line["headline"] == "list_dr, always_valid", (name, line["reasons"])
        assert line["interval"]["low"] < real < line["interval"]["high"]
        assert line["one_look"]["high"] - line["one_look"]["low"] < 0.35
        assert set(line["estimators"]) == {"list_dr", "list_cascade", "list_ips"}
        assert [position["position"] for position in line["positions"]] == [1, 2]
        parts = sum(position["value"] for position in line["positions"])
        assert parts == pytest.approx(line["value"], abs=1e-9)
    under = lines["always-a"]["positions"][1]
    assert under["one_look"]["low"] < 0.2 * UNDER_A < under["one_look"]["high"] < 0.2
    for name in ("running", "square"):
        assert lines[name]["value"] is not None and lines[name]["course"]
    assert lines["running"]["basis"] == "as_it_ran"


def test_what_an_arm_of_lists_earned_is_predicted_per_list(lab: Lab, listed: str) -> None:
    result = ask(lab, listed, candidates=[])["result"]
    (line,) = result["realised"]
    assert line["agrees"] and 0.5 < line["realised"] < 1
    assert result["logged_value"] == pytest.approx(line["realised"], abs=0.3)
    (values,) = result["actions"]
    assert {one["action"] for one in values["actions"]} == set("abc")
