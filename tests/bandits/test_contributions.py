"""Contributions: the probability with a feature minus the probability without it, from the policy itself."""

import pytest

from bandits.contributions import Choice, contributions, names_of
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, UniformPolicy
from bandits.vw_model import initial_model, learn

POLICY = BanditPolicy("softmax", {"bits": 12, "lambda_": 5}, 0.01)
ACTIONS = {"a": {"size": 1}, "b": {"size": 2}}
LINES = [encode_action(name, features) for name, features in ACTIONS.items()]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """Evenings reward b, mornings a; the weather does not matter."""
    examples = []
    for n in range(400):
        time, weather, chosen = "evening" if n % 2 else "morning", f"w{n % 3}", n // 2 % 2
        context = encode_context({"time": time, "weather": weather})
        examples.append(Example(context, LINES, chosen, 0.5, float((time == "evening") != (chosen == 1))))
    return Predictor(learn(initial_model(POLICY), POLICY, examples), POLICY)


def test_each_change_is_the_difference_of_two_distributions_of_the_policy(predictor: Predictor) -> None:
    context = {"time": "evening", "weather": "w1"}
    result = {
        contribution.name: contribution
        for contribution in contributions(POLICY, predictor, Choice(context, ACTIONS["b"], LINES, ["a", "b"], 1))
    }

    def chance(shown: dict[str, str], lines: list[str]) -> float:
        return float(distribution(POLICY, predictor, encode_context(shown), lines, ["a", "b"])[1])

    now = chance(context, LINES)
    without = {
        "time": chance({"weather": "w1"}, LINES),
        "weather": chance({"time": "evening"}, LINES),
        "size": chance(context, [LINES[0], encode_action("b", {})]),
    }
    assert {name: contribution.without for name, contribution in result.items()} == without
    assert {name: contribution.change for name, contribution in result.items()} == {
        name: now - value for name, value in without.items()
    }
    assert (result["time"].side, result["size"].side, result["time"].value) == ("context", "action", "evening")


def test_a_feature_for_the_choice_has_the_largest_change_and_a_feature_against_it_a_negative_change(
    predictor: Predictor,
) -> None:
    for time, sign in (("evening", 1), ("morning", -1)):
        context = {"weather": "w0", "time": time}
        first, *rest = contributions(POLICY, predictor, Choice(context, {}, LINES, ["a", "b"], 1))
        assert first.name == "time"
        assert first.change * sign > 0.2
        assert all(abs(contribution.change) < abs(first.change) for contribution in rest)


def test_features_of_a_policy_that_does_not_learn_change_nothing() -> None:
    result = contributions(UniformPolicy(), None, Choice({"time": "evening"}, {"size": 2}, LINES, ["a", "b"], 0))
    assert [contribution.change for contribution in result] == [0.0, 0.0]


def test_no_more_fields_are_tried_than_asked_for_and_lists_of_objects_count_as_one(predictor: Predictor) -> None:
    context = [{"time": "evening"}, {"weather": "w0", "time": "late"}, *({f"f{n}": n} for n in range(60))]
    assert names_of(context)[:3] == ["time", "weather", "f0"]
    assert len(contributions(POLICY, predictor, Choice(context, {}, LINES, ["a", "b"], 0), most=7)) == 7
    result = contributions(POLICY, predictor, Choice(context, {}, LINES, ["a", "b"], 0))
    assert len(result) == 40
    assert {contribution.name: contribution.value for contribution in result}["time"] == ["evening", "late"]
