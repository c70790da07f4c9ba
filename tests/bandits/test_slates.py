"""Composed messages: exact joint distributions, propensities per slot, and VW slates that learn and replay bit for bit."""

import itertools
import math
import random

import numpy as np
import pytest

from bandits import slates
from bandits.distribution import DistributionError, draw, sample
from bandits.encoding import encode_action, encode_context
from bandits.model import distribution
from bandits.policy import (
    BanditPolicy,
    PolicyError,
    UniformPolicy,
    parse_policy,
    policy_to_json,
)
from bandits.reward_model import fit, predict, row_line
from bandits.vw_model import VwPredictor, initial_model, learn
from experiments.off_policy.slates import pseudo_inverse, standard_ips
from tests.bandits.slates_support import (
    BUTTONS,
    COMBINATIONS,
    IDS,
    LINES,
    MOODS,
    NOTHING,
    SUBJECTS,
    TONES,
    line,
    online,
    policy,
    round_of,
    value,
)

pytestmark = pytest.mark.slow


def brute_marginal(p: list[float], slot: int, part: str) -> float:
    said = math.fsum(p[:-1])
    return math.fsum(x for x, parts in zip(p, COMBINATIONS, strict=False) if parts[slot] == part) / said


def random_table(generator: random.Random) -> tuple[slates.Table, list[list[float]]]:
    sizes = [generator.randint(1, 5) for _ in range(generator.randint(2, 5))]
    every = list(itertools.product(*(range(size) for size in sizes)))
    kept = generator.sample(every, generator.randint(1, len(every)))
    actions = [[f"|a =s{slot}p{part}" for slot, part in enumerate(parts)] for parts in kept]
    if generator.random() < 0.5:
        actions.insert(generator.randint(0, len(actions)), [NOTHING])
    table = slates.table_of(actions)
    return table, [[generator.random() + 1e-3 for _ in slot] for slot in table.slots]


def test_the_joint_distribution_is_the_product_over_slots_given_that_it_is_eligible() -> None:
    generator = random.Random(1)
    for _ in range(200):
        table, given = random_table(generator)
        shares = [[x / math.fsum(chances) for x in chances] for chances in given]
        p = slates.joint(table, given, 0.0)
        assert abs(math.fsum(p) - 1) < 1e-12
        said = [row for row in table.choices if len(row) > 1 and row[1] >= 0]
        products = [math.prod(shares[s][row[s]] for s in range(1, len(row))) for row in said]
        for row, chance in zip(table.choices, p, strict=True):
            expected = shares[0][row[0]]
            if row[1] >= 0:
                expected *= math.prod(shares[s][row[s]] for s in range(1, len(row))) / math.fsum(products)
            assert chance == pytest.approx(expected, rel=1e-12)


def test_slot_propensities_are_the_marginals_and_their_chain_multiplies_to_the_joint() -> None:
    generator = random.Random(2)
    for _ in range(200):
        table, given = random_table(generator)
        p = slates.joint(table, given, 0.05)
        for chosen in range(len(p)):
            choices = slates.choices_of(table, p, chosen)
            assert math.prod(choice.given_above for choice in choices) == pytest.approx(p[chosen], rel=1e-9)
            for slot, choice in enumerate(choices):
                assert abs(math.fsum(choice.distribution) - 1) < 1e-9
                assert choice.propensity == choice.distribution[choice.chosen] > 0
                assert table.choices[chosen, slot] == choice.chosen


def test_with_nothing_forbidden_the_joint_is_the_product_of_its_marginals() -> None:
    actions = [
        [f"|a =s{slot}p{part}" for slot, part in enumerate(parts)] for parts in itertools.product(*[range(3)] * 3)
    ]
    table = slates.table_of(actions)
    p = slates.joint(table, [[1.0], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.2, 0.2]], 0.1)
    for chosen, chance in enumerate(p):
        choices = slates.choices_of(table, p, chosen)
        # the small even share of the joint is all that the product does not have
        assert math.prod(choice.propensity for choice in choices) == pytest.approx(
            chance, rel=0.05, abs=2 * slates.JOINT_FLOOR
        )
        assert choices[1].propensity == pytest.approx(
            0.9 * (0.5, 0.3, 0.2)[table.choices[chosen, 1]] + 0.1 / 3, rel=1e-4
        )


def test_every_combination_is_likely_enough_to_learn_from() -> None:
    tiny = [[1.0], *([[1.0] + [0.0] * 9] * 3)]
    every = list(itertools.product(range(10), repeat=3))
    table = slates.table_of([[f"|a =s{slot}p{part}" for slot, part in enumerate(parts)] for parts in every])
    assert slates.joint(table, tiny, 0.001).min() > 1e-9


def test_forbidden_combinations_have_probability_zero_also_in_the_marginals() -> None:
    used = policy()
    model, _ = online(used, 2, 150)
    predictor = VwPredictor(model, used)
    for mood in MOODS:
        p = distribution(used, predictor, encode_context({"mood": mood}), LINES, IDS).tolist()
        assert len(p) == len(COMBINATIONS) + 1
        assert min(p) > 0
        assert abs(math.fsum(p) - 1) < 1e-12
        table = slates.table_of([slates.parts_of(line) for line in LINES])
        spread = slates.marginals(table, p)
        for slot, parts in enumerate((SUBJECTS, TONES, BUTTONS)):
            for part in parts:
                place = next(slates.parts_of(line(*c))[slot] for c in COMBINATIONS if c[slot] == part)
                mine = spread[slot + 1][table.slots[slot + 1].index(place)]
                assert mine == pytest.approx(brute_marginal(p, slot, part), rel=1e-12)
    predictor.close()


def test_only_eligible_parts_are_chosen_and_the_order_of_lines_is_kept() -> None:
    used = policy()
    model, _ = online(used, 3, 100)
    predictor = VwPredictor(model, used)
    some = [LINES[3], NOTHING, LINES[0]]
    p = predictor.distribution(encode_context({"mood": "tired"}), some, 0.05)
    back = predictor.distribution(encode_context({"mood": "tired"}), some[::-1], 0.05)
    assert p.tolist() == pytest.approx(back.tolist()[::-1], rel=1e-6)
    assert len(p) == 3
    assert predictor.distribution(encode_context({}), [LINES[4]], 0.05).tolist() == [1.0]
    predictor.close()


def test_a_line_of_several_parts_is_an_ordinary_action_to_other_learners() -> None:
    ordinary = BanditPolicy("squarecb", {"bits": 14})
    examples = [example._replace(chances=None) for example in round_of(0, 400, policy(), None)]
    predictor = VwPredictor(learn(initial_model(ordinary), ordinary, examples), ordinary)
    p = distribution(ordinary, predictor, encode_context({"mood": "hurried"}), LINES, IDS)
    predictor.close()
    best = IDS.index("progress|brisk|go")
    assert p[best] > 2 / len(IDS)
    rows = [row_line(e.shared_line, e.action_lines[e.chosen]) for e in examples]
    model = fit(rows, [1 - e.cost for e in examples])
    good, bad = (row_line(encode_context({"mood": "hurried"}), line) for line in (LINES[best], LINES[-2]))
    assert np.diff(predict(model, [bad, good], 0.0, 1.0))[0] > 0


def test_the_logged_propensities_give_the_off_policy_values_of_slates() -> None:
    used, generator = policy(), random.Random(11)
    model, _ = online(used, 4, 150)
    predictor = VwPredictor(model, used)
    table = slates.table_of([slates.parts_of(line) for line in LINES[:-1]])
    chain, product, rewards, truth = [], [], [], []
    for index in range(6000):
        mood = generator.choice(["curious", "hurried"])
        target = predictor.distribution(encode_context({"mood": mood}), LINES[:-1], 0.2).tolist()
        logged = [1 / len(COMBINATIONS)] * len(COMBINATIONS)
        chosen = sample(logged, draw(b"log", str(index)))
        ours, theirs = (slates.choices_of(table, p, chosen) for p in (target, logged))
        chain.append([a.given_above / b.given_above for a, b in zip(ours[1:], theirs[1:], strict=True)])
        product.append([a.propensity / b.propensity for a, b in zip(ours[1:], theirs[1:], strict=True)])
        rewards.append(float(generator.random() < value(mood, COMBINATIONS[chosen])))
        truth.append(sum(p * value(mood, parts) for p, parts in zip(target, COMBINATIONS, strict=True)))
    predictor.close()
    sips = standard_ips(chain, rewards)
    error = float(np.std(sips.influence)) / math.sqrt(6000)
    assert abs(sips.value - np.mean(truth)) < 3 * error
    # Forbidden pairs make the logging no product, so the pseudo-inverse is only near; it is far less noisy.
    additive = pseudo_inverse(product, rewards)
    assert abs(additive.value - np.mean(truth)) < 0.06
    assert np.std(additive.influence) < np.std(sips.influence)


def test_actions_that_are_not_combinations_are_refused() -> None:
    used = policy()
    predictor = VwPredictor(learn(initial_model(used), used, round_of(0, 20, used, None)), used)
    for lines, words in [
        ([encode_action("a"), encode_action("b")], "no combinations"),
        ([], "one action"),
        ([LINES[0], LINES[0]], "same combination"),
    ]:
        with pytest.raises(ValueError, match=words):
            predictor.distribution(encode_context({}), lines, 0.05)
    with pytest.raises(ValueError, match="per slot"):
        predictor.probabilities(encode_context({}), LINES)
    predictor.close()
    with pytest.raises(ValueError, match="closed"):
        predictor.distribution(encode_context({}), LINES, 0.05)
    with pytest.raises(DistributionError):
        slates.joint(slates.table_of([slates.parts_of(LINES[0])]), [[1.0]], 0.05)


def test_the_default_for_slates_scales_its_features_and_a_named_algorithm_only_when_told() -> None:
    default = parse_policy({"type": "bandit", "slates": True})
    assert isinstance(default, BanditPolicy) and (default.algorithm, default.scaling) == ("squarecb", True)
    named = parse_policy({"type": "bandit", "slates": True, "algorithm": "squarecb"})
    assert isinstance(named, BanditPolicy) and not named.scaling
    assert parse_policy(policy_to_json(default)) == default


def test_a_policy_states_whether_it_fills_slots() -> None:
    given = {"type": "bandit", "algorithm": "softmax", "slates": True}
    parsed = parse_policy(given)
    assert isinstance(parsed, BanditPolicy)
    assert parsed.slates
    assert parse_policy(policy_to_json(parsed)) == parsed
    assert "slates" not in policy_to_json(BanditPolicy("softmax", {}))
    assert "slates" not in policy_to_json(UniformPolicy())
    for algorithm in ("cover", "auto", "thompson"):
        with pytest.raises(PolicyError, match="policy_no_slates"):
            parse_policy(given | {"algorithm": algorithm})
    with pytest.raises(PolicyError, match="not_true_or_false"):
        parse_policy(given | {"slates": "yes"})
