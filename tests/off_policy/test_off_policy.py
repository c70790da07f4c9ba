"""What the off-policy page stands on: evaluations without their bodies, agreement, what a candidate may be made of."""

import pytest

from app.foundation.errors import NotFound
from app.foundation.formats.intervals import IntervalDocument
from app.off_policy import candidate_policies, evaluations
from app.off_policy import logged_values as off_policy
from app.off_policy.documents import EstimatorLine
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.policy_line import impossible
from tests.service import Loop, bandit


@pytest.fixture(scope="module")
def evaluated(loop: Loop) -> int:
    """An experiment with a done evaluation and one that waits; returns the id of the first."""
    arms = [one | {"share": 0.5} for one in bandit("softmax", lambda_=3)]
    arms.append({"key": "even", "share": 0.5, "policy": {"type": "uniform"}})
    made = loop.make("offline", arms=arms, control_arm="even")
    for turn in range(3):
        decided = loop.decide(
            "offline", [{"unit_id": f"{turn}-{n}", "context": {"n": n % 5, "x": 1}} for n in range(150)]
        )
        loop.reward(
            [{"decision_id": one["decision_id"], "value": float(one["action"]["id"] == "b")} for one in decided]
        )
        loop.close_windows(made)
        loop.train(made)
        loop.train(made, "even")
        loop.runtime.snapshots.refresh()
    spec = CandidateSpec.model_validate({"key": "always-b", "policy": {"type": "fixed", "action": "b"}})
    candidate_policies.add(loop.runtime.engine, "offline", spec, "test")
    first = evaluations.ask(loop.runtime.engine, "offline", EvaluationRequest(), "test")
    evaluations.run_waiting(loop.runtime.engine, loop.settings)
    evaluations.ask(loop.runtime.engine, "offline", EvaluationRequest(), "test")
    return first.id


def test_the_newest_done_evaluation_is_shown_and_the_one_under_way_is_named(loop: Loop, evaluated: int) -> None:
    found = off_policy.report(loop.runtime.engine, "offline")
    assert found.shown is not None and found.shown.id == evaluated
    assert found.under_way is not None and found.under_way.id == evaluated + 1
    assert [(one.id, one.status) for one in found.listed] == [(evaluated + 1, "queued"), (evaluated, "done")]
    assert "result" not in found.listed[0]._fields
    by_name = {one.line.policy: one for one in found.policies}
    assert set(by_name) == {"running", "control", "uniform", "best_fixed", "always-b"}
    assert by_name["always-b"].candidate and not by_name["running"].candidate
    agreement = by_name["uniform"].agreement
    assert agreement.agree is (agreement.apart is None)
    assert [one.name for one in by_name["uniform"].estimated][:4] == ["dr", "sndr", "snips", "ips"]


def test_an_evaluation_of_another_experiment_is_not_found(loop: Loop, evaluated: int) -> None:
    loop.make("stranger")
    with pytest.raises(NotFound):
        off_policy.report(loop.runtime.engine, "stranger", evaluated)
    empty = off_policy.report(loop.runtime.engine, "stranger")
    assert (empty.shown, empty.policies, empty.listed) == (None, [], [])


def test_a_candidate_may_be_made_of_the_fields_actions_and_models_that_there_are(loop: Loop, evaluated: int) -> None:
    found = off_policy.choices(loop.runtime.engine, "offline")
    assert (sorted(found.fields), found.actions, found.serving) == (["n", "x"], ["a", "b", "c"], {"learned": 3})


def test_only_intervals_about_the_policys_value_are_compared() -> None:
    def estimate(low: float, high: float) -> EstimatorLine:
        interval = IntervalDocument(low=low, high=high)
        both = {"normal": interval, "bias_aware": interval}
        return EstimatorLine(value=(low + high) / 2, std_error=None, intervals=both, estimand="", reason="")

    line = impossible(CandidateSpec(key="k"), "").model_copy(
        update={
            "estimators": {
                "ips": estimate(0, 1),
                "dr": estimate(0.5, 0.7),
                "clipped_ips": estimate(5, 6),
                "dm": estimate(8, 9),
            }
        }
    )
    assert off_policy.agree(line).agree is True
    line.estimators["snips"] = estimate(0.8, 0.9)
    assert off_policy.agree(line).apart == ("dr", "snips")
