"""Diversity in the draw: the formula, positive propensities, the order with exposure, and what a policy may say."""

import math

import numpy as np
import pytest

from bandits.distribution import mix_floor
from bandits.diversity import diversified, similarity
from bandits.encoding import encode_action, encode_context
from bandits.model import distribution
from bandits.policy import BanditPolicy, PolicyError, learning_part, parse_policy, policy_to_json

LINES = [
    encode_action("a", {"topic": "news", "source": "x"}),
    encode_action("b", {"topic": "news", "source": "y"}),
    encode_action("c", {"topic": "sport", "source": "z"}),
    encode_action("d"),
]
IDS = ["a", "b", "c", "d"]


def test_similarity_is_the_share_of_equal_features_without_the_id() -> None:
    assert similarity(LINES[0], LINES[1]) == pytest.approx(1 / 3)
    assert similarity(LINES[0], LINES[0]) == 1.0
    assert similarity(LINES[0], LINES[2]) == 0.0
    assert similarity(LINES[3], LINES[3]) == 0.0, "actions without features are not alike"


def test_the_distribution_is_that_of_the_formula_and_keeps_every_propensity_positive() -> None:
    p = mix_floor([0.7, 0.2, 0.05, 0.05], 0.02)
    above = [LINES[1], LINES[2]]
    q = diversified(p, LINES, above, 0.9)
    by_hand = p * (1 - 0.9 * np.array([1 / 3, 1.0, 1.0, 0.0]))
    assert q == pytest.approx(by_hand / by_hand.sum(), abs=1e-15)
    assert math.fsum(q.tolist()) == pytest.approx(1.0, abs=1e-12) and (q > 0).all()


def test_what_is_not_alike_or_first_stays_bit_for_bit() -> None:
    p = mix_floor([0.7, 0.2, 0.05, 0.05], 0.02)
    assert diversified(p, LINES, [], 0.9) is p
    assert diversified(p, LINES, [LINES[3]], 0.9) is p
    assert diversified(p, LINES, [LINES[0]], 0.0) is p


def test_a_policy_keeps_it_trained_or_not_and_its_bounds_hold_after_it() -> None:
    policy = parse_policy({"type": "bandit", "diversity": 0.9, "exposure": {"by": "topic", "least": 0.5}})
    assert isinstance(policy, BanditPolicy) and policy.diversity == 0.9
    q = distribution(policy, None, encode_context({}), LINES[:3], IDS[:3], [LINES[0]])
    assert q[2] == pytest.approx(0.5), "without the bound it would be 0.56: sport is unlike what stands above"
    assert q[0] == pytest.approx(0.5 * 0.1 / 0.8)
    assert distribution(policy, None, encode_context({}), LINES[:3], IDS[:3])[0] == pytest.approx(0.25)
    assert parse_policy(policy_to_json(policy)) == policy and hash(parse_policy(policy_to_json(policy))) == hash(policy)
    assert learning_part(policy) == parse_policy({"type": "bandit"})


@pytest.mark.parametrize("value", [-0.1, 1.0, "0.5", None, True, float("nan")])
def test_a_weight_outside_of_its_range_is_refused(value: object) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy({"type": "bandit", "diversity": value})
    assert [(problem.path, problem.code) for problem in error.value.problems] == [("/diversity", "out_of_range")]


def test_composed_messages_take_none() -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy({"type": "bandit", "slates": True, "diversity": 0.5})
    assert [problem.code for problem in error.value.problems] == ["policy_diversity_slates"]
