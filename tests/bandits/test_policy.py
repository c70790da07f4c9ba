"""Policies come only from bounded, named parameters."""

import copy
import math
from typing import Any

import pytest

from bandits import parameters
from bandits.arguments import vw_arguments
from bandits.parameters import ALGORITHMS, COMMON, INTERACTIONS
from bandits.policy import BanditPolicy, FixedPolicy, PolicyError, Problem, UniformPolicy, parse_policy, policy_to_json


def problems_of(obj: Any) -> dict[str, Problem]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(obj)
    return {problem.path: problem for problem in caught.value.problems}


def bandit(**parameters: Any) -> dict[str, Any]:
    return {"type": "bandit", "algorithm": "epsilon_greedy", "parameters": parameters}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bandit_policy_survives_json_and_copying_with_every_default_written_out(algorithm: str) -> None:
    policy = parse_policy({"type": "bandit", "algorithm": algorithm})
    assert isinstance(policy, BanditPolicy)
    assert set(policy.parameters) == {*COMMON, *ALGORITHMS[algorithm], "interactions"}
    assert parse_policy(policy_to_json(policy)) == policy == copy.deepcopy(policy)
    assert hash(parse_policy(policy_to_json(policy))) == hash(policy)


def test_fixed_and_uniform_policies_survive_json() -> None:
    for policy in (FixedPolicy("x"), UniformPolicy()):
        assert parse_policy(policy_to_json(policy)) == policy


def test_a_value_outside_its_range_is_refused_with_the_range() -> None:
    result = problems_of(bandit(epsilon=1.5, learning_rate=0, bits=23))
    for name, code, low, high in (
        ("epsilon", "out_of_range", 0, 1),
        ("learning_rate", "out_of_range", 0.0001, 10),
        ("bits", "not_whole_in_range", 10, 22),
    ):
        assert result[f"/parameters/{name}"] == (f"/parameters/{name}", code, {"low": low, "high": high})


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.1", True, None, [0.1], {}])
def test_a_number_out_of_range_is_refused(value: Any) -> None:
    assert "/parameters/epsilon" in problems_of(bandit(epsilon=value))
    assert "/exploration_floor" in problems_of({**bandit(), "exploration_floor": value})


@pytest.mark.parametrize("floor", [0, 0.0009, 1.1])
def test_a_floor_that_would_let_propensities_reach_zero_is_refused(floor: float) -> None:
    assert problems_of({**bandit(), "exploration_floor": floor})["/exploration_floor"].params == {
        "low": 0.001,
        "high": 1,
    }


def test_unknown_keys_algorithms_and_parameters_are_refused_by_name() -> None:
    assert "/extra" in problems_of({"type": "uniform", "extra": 1})
    assert "/arguments" in problems_of({**bandit(), "arguments": "-f /tmp/x"})
    assert "epsilon_greedy" in problems_of({"type": "bandit", "algorithm": "--cubic"})["/algorithm"].params["expected"]
    assert "learning_rate" in problems_of(bandit(**{"-f": 1}))["/parameters/-f"].params["allowed"]
    assert "/parameters/lambda_" in problems_of(bandit(lambda_=1.0))
    malformed: list[Any] = [[], "uniform", None, {}, {"type": []}]
    for wrong in malformed:
        assert problems_of(wrong)
    assert problems_of({"type": "fixed", "action": ""}) == problems_of({"type": "fixed"})


@pytest.mark.parametrize("value", ["context*action", ["-f"], ["context*action", "context*action"], [["x"]], 3, None])
def test_interactions_come_from_the_list_of_names(value: Any) -> None:
    assert "context*action" in problems_of(bandit(interactions=value))["/parameters/interactions"].params["names"]


def test_the_order_of_interactions_does_not_matter() -> None:
    names = list(INTERACTIONS)
    first, second = (parse_policy(bandit(interactions=order)) for order in (names, names[::-1]))
    assert isinstance(first, BanditPolicy)
    assert isinstance(second, BanditPolicy)
    assert vw_arguments(first) == vw_arguments(second)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_arguments_never_name_a_file_and_always_hash_every_name(algorithm: str) -> None:
    arguments = vw_arguments(BanditPolicy(algorithm, {"l2": 0.001}, 0.05)).split()
    assert {"--cb_explore_adf", "--save_resume", "--quiet", "--no_stdin", "--random_seed", "--l2"} <= set(arguments)
    assert arguments[arguments.index("--hash") + 1] == "all"
    assert not {"-f", "-i", "-d", "-p", "--data", "--final_regressor", "--cubic", "-c", "-k"} & set(arguments)


def test_every_parameter_is_in_the_documented_table_with_its_default() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (parameters.__doc__ or "").splitlines()]
    common = {row[0]: row for row in rows if len(row) == 4}
    special = {(row[0], row[1]): row for row in rows if len(row) == 5}
    for name, spec in COMMON.items():
        assert common[name][2] == f"{spec.default:g}"
    for algorithm, specs in ALGORITHMS.items():
        for name, spec in specs.items():
            assert special[algorithm, name][3] == f"{spec.default:g}"
            low, high = special[algorithm, name][2].split(" - ")
            assert (float(low), float(high)) == (spec.low, spec.high)


def test_features_off_and_a_policy_that_does_not_learn_are_written_back() -> None:
    given = {"type": "bandit", "algorithm": "squarecb", "features_off": ["b", "a"], "learns": False}
    policy = parse_policy(given)
    assert isinstance(policy, BanditPolicy) and policy.features_off == ("a", "b") and not policy.learns
    assert parse_policy(policy_to_json(policy)) == policy == copy.deepcopy(policy)
    assert not {"features_off", "learns"} & set(policy_to_json(parse_policy({"type": "bandit"})))
    wrong: list[tuple[str, object]] = [("features_off", "a"), ("features_off", ["a", "a"]), ("features_off", ["\ud800"]),
        ("features_off", [1]), ("features_off", [str(n) for n in range(101)]), ("learns", "no")]  # fmt: skip
    for name, value in wrong:
        with pytest.raises(PolicyError) as error:
            parse_policy(given | {name: value})
        assert [problem.path for problem in error.value.problems] == [f"/{name}"]


def test_missing_parameters_get_their_defaults() -> None:
    assert (
        BanditPolicy("squarecb")
        == BanditPolicy("squarecb", {})
        == parse_policy({"type": "bandit", "algorithm": "squarecb"})
    )
