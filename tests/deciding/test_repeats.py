"""Most repeats in a row and caps for each group of actions: exact also within a commit, logged with their counts, audited."""

from itertools import pairwise
from typing import Any

import pytest

from app.foundation.errors import Unprocessable
from tests.lab import Lab, arm
from tests.service import move_decisions, query

ACTIONS = [{"id": f"a{n}", "features": {"category": "news" if n < 3 else "sport"}} for n in range(4)]
DRAWN = (
    "SELECT unit_id, eligible[chosen + 1], propensity, ineligible FROM decisions WHERE experiment_id = %s"
    " ORDER BY decided_at, length(id), id"
)


def course(lab: Lab, experiment_id: int, unit: str) -> list[str]:
    return [action for name, action, *_ in query(lab.database_url, DRAWN, experiment_id) if name == unit]


def test_no_action_comes_more_often_in_a_row_than_it_may_in_a_batch_and_one_by_one(lab: Lab) -> None:
    made = lab.make("row", actions=ACTIONS, arms=[arm("all", 1.0, "a0")], repeats={"in_a_row": 2})
    lab.decide("row", [{"unit_id": "batch"}] * 9)
    for _ in range(9):
        lab.decide("row", [{"unit_id": "single"}])
    for unit in ("batch", "single"):
        actions = course(lab, made, unit)
        assert len(actions) == 9 and actions[:2] == ["a0", "a0"]
        assert all(len({*actions[n : n + 3]}) > 1 for n in range(7))
    rows = query(lab.database_url, DRAWN, made)
    reasons = [reason for *_, against in rows for reason in against or []]
    assert {reason["code"] for reason in reasons} == {"in_a_row"} and reasons[0]["params"]["limit"] == 2
    assert {round(propensity, 6) for *_, propensity, _ in rows} == {1.0, round(1 / 3, 6)}, (
        "propensities are those after it"
    )
    report = lab.audit("row")
    assert report.ok, report.lines()


def test_a_cap_for_each_group_holds_and_says_what_it_counted(lab: Lab) -> None:
    cap = {"by": "category", "limit": 3, "window_s": 3600.0}
    made = lab.make("caps", actions=ACTIONS, arms=[arm("all", 1.0, "a0")], repeats={"caps": [cap]})
    lab.decide("caps", [{"unit_id": "u"}] * 8)
    actions = course(lab, made, "u")
    assert actions[:6] == ["a0", "a0", "a0", "a3", "a3", "a3"], "news three times, then sport three times"
    assert actions[6:] == ["a0", "a0"], "where no action would be left, the rule does not hold"
    against = query(lab.database_url, DRAWN, made)[3][3]
    assert {reason["id"] for reason in against} == {"a0", "a1", "a2"} and against[0]["params"]["seen"] == 3
    move_decisions(lab.database_url, "d.decided_at - interval '2 hours'", "d.experiment_id = %s", made)
    lab.decide("caps", [{"unit_id": "u"}])
    assert course(lab, made, "u")[-1] == "a0"


def test_a_learning_arm_has_no_probability_for_what_is_excluded_and_learns_on(lab: Lab) -> None:
    policy: dict[str, Any] = {"type": "bandit", "algorithm": "epsilon_greedy"}
    arms = [arm("learned", 1.0, policy)]
    made = lab.make("learns", actions=ACTIONS, arms=arms, repeats={"in_a_row": 1, "by": "category"})
    everybody = [{"unit_id": f"u{n}"} for n in range(10)]
    for part in range(3):
        answers = [answer for _ in range(5) for answer in lab.decide("learns", everybody)]
        lab.report(
            [{"decision_id": row["decision_id"], "value": float(row["action"]["id"] == "a0")} for row in answers]
        )
        lab.settle("learns")
        assert part or lab.audit("learns").ok
    for unit in range(10):
        groups = ["sport" if action == "a3" else "news" for action in course(lab, made, f"u{unit}")]
        assert all(one != other for one, other in pairwise(groups)), groups
    report = lab.audit("learns")
    assert report.ok, report.lines()


def test_a_rule_that_says_nothing_is_refused(lab: Lab) -> None:
    with pytest.raises(Unprocessable) as refused:
        lab.make("empty", repeats={"caps": []})
    assert [field.code for field in refused.value.fields] == ["repeats_empty"]
