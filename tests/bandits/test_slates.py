"""Composed messages: exact joint distributions, propensities per slot, and VW slates that learn and replay bit for bit."""

import itertools
import math
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bandits import slates
from bandits.distribution import DistributionError, draw, sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example, TrainingDataError
from bandits.model import Predictor, distribution, initial_model, learn
from bandits.model_file import ModelError, parse_options, read_header, unseal
from bandits.policy import (
    ALGORITHMS,
    NOT_FOR_SLATES,
    BanditPolicy,
    PolicyError,
    UniformPolicy,
    parse_policy,
    policy_to_json,
)
from bandits.reward_model import fit, predict, row_line
from bandits.safety import check_model
from experiments.slates import pseudo_inverse, standard_ips
from tests.bandits.test_model import peak_bytes

USABLE = sorted(set(ALGORITHMS) - NOT_FOR_SLATES)
SUBJECTS, TONES, BUTTONS = ["progress", "question", "news"], ["warm", "brisk"], ["go", "later", "see"]
FORBIDDEN = {("question", "brisk"), ("news", "later")}
NOTHING = encode_action("nothing")


def line(subject: str, tone: str, button: str) -> str:
    named = zip(("subject", "tone", "button"), (subject, tone, button), strict=True)
    return " ".join(encode_action(f"{slot}={part}", {slot: {"length": len(part)}}) for slot, part in named)


def allowed(subject: str, tone: str, button: str) -> bool:
    return not {(subject, tone), (tone, button), (subject, button)} & FORBIDDEN


COMBINATIONS = [parts for parts in itertools.product(SUBJECTS, TONES, BUTTONS) if allowed(*parts)]
LINES = [*(line(*parts) for parts in COMBINATIONS), NOTHING]
IDS = ["|".join(parts) for parts in COMBINATIONS] + ["nothing"]
MOODS = ("curious", "tired", "hurried")
BEST = {"curious": ("news", "warm", "see"), "tired": None, "hurried": ("progress", "brisk", "go")}


def policy(algorithm: str = "squarecb", floor: float = 0.05, **parameters: object) -> BanditPolicy:
    return BanditPolicy(algorithm, {"bits": 14, **parameters}, floor, slates=True)


def value(mood: str, parts: tuple[str, ...] | None) -> float:
    """Mean reward: every part that suits adds to it; for the tired, silence is best."""
    best = BEST[mood]
    if parts is None:
        return 0.7 if best is None else 0.3
    if best is None:
        return 0.1
    return 0.1 + 0.25 * sum(ours == theirs for ours, theirs in zip(parts, best, strict=True))


def round_of(number: int, size: int, used: BanditPolicy, predictor: Predictor | None) -> list[Example]:
    """Logged decisions, drawn as the service draws."""
    generator, examples = random.Random(f"slates/{number}"), []
    for index in range(size):
        mood = generator.choice(MOODS)
        shared = encode_context({"mood": mood})
        p = distribution(used, predictor, shared, LINES, IDS)
        chosen = sample(p, draw(b"salt", f"{number}/{index}"))
        parts = COMBINATIONS[chosen] if chosen < len(COMBINATIONS) else None
        cost = float(generator.random() >= value(mood, parts))
        examples.append(Example(shared, LINES, chosen, float(p[chosen]), cost, p))
    return examples


def online(used: BanditPolicy, rounds: int, size: int) -> tuple[bytes, list[list[Example]]]:
    model, logged, predictor = initial_model(used), [], None
    for number in range(rounds):
        logged.append(round_of(number, size, used, predictor))
        model = learn(model, used, logged[-1])
        if predictor:
            predictor.close()
        predictor = Predictor(model, used)
    if predictor:
        predictor.close()
    return model, logged


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
        shares = [[x / math.fsum(one) for x in one] for one in given]
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
            did = slates.choices_of(table, p, chosen)
            assert math.prod(one.given_above for one in did) == pytest.approx(p[chosen], rel=1e-9)
            for slot, one in enumerate(did):
                assert abs(math.fsum(one.distribution) - 1) < 1e-9
                assert one.propensity == one.distribution[one.chosen] > 0
                assert table.choices[chosen, slot] == one.chosen


def test_with_nothing_forbidden_the_joint_is_the_product_of_its_marginals() -> None:
    actions = [
        [f"|a =s{slot}p{part}" for slot, part in enumerate(parts)] for parts in itertools.product(*[range(3)] * 3)
    ]
    table = slates.table_of(actions)
    p = slates.joint(table, [[1.0], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.2, 0.2]], 0.1)
    for chosen, chance in enumerate(p):
        did = slates.choices_of(table, p, chosen)
        # the small even share of the joint is all that the product does not have
        assert math.prod(one.propensity for one in did) == pytest.approx(chance, rel=0.05, abs=2 * slates.JOINT_FLOOR)
        assert did[1].propensity == pytest.approx(0.9 * (0.5, 0.3, 0.2)[table.choices[chosen, 1]] + 0.1 / 3, rel=1e-4)


def test_no_combination_is_less_likely_than_can_be_learned_from() -> None:
    tiny = [[1.0], *([[1.0] + [0.0] * 9] * 3)]
    every = list(itertools.product(range(10), repeat=3))
    table = slates.table_of([[f"|a =s{slot}p{part}" for slot, part in enumerate(parts)] for parts in every])
    assert slates.joint(table, tiny, 0.001).min() > 1e-9


def test_forbidden_combinations_have_no_mass_and_marginals_say_so() -> None:
    used = policy()
    model, _ = online(used, 2, 150)
    predictor = Predictor(model, used)
    for mood in MOODS:
        p = distribution(used, predictor, encode_context({"mood": mood}), LINES, IDS).tolist()
        assert len(p) == len(COMBINATIONS) + 1
        assert min(p) > 0
        assert abs(math.fsum(p) - 1) < 1e-12
        table = slates.table_of([slates.parts_of(one) for one in LINES])
        spread = slates.marginals(table, p)
        for slot, parts in enumerate((SUBJECTS, TONES, BUTTONS)):
            for part in parts:
                place = next(slates.parts_of(line(*c))[slot] for c in COMBINATIONS if c[slot] == part)
                mine = spread[slot + 1][table.slots[slot + 1].index(place)]
                assert mine == pytest.approx(brute_marginal(p, slot, part), rel=1e-12)
    predictor.close()


@pytest.mark.parametrize("algorithm", USABLE)
def test_every_usable_algorithm_learns_and_replays_bit_for_bit(algorithm: str) -> None:
    used = policy(algorithm, **({"mellowness": 0.01} if algorithm == "regcb" else {}))
    model, logged = online(used, 10, 150)
    first, last = (sum(1 - e.cost for e in logged[i]) / 150 for i in (0, -1))
    assert last > max(first + 0.15, 0.55)

    replayed = initial_model(used)
    for examples in logged:
        replayed = learn(replayed, used, iter(examples))
    assert replayed == model
    assert unseal(model).examples == 1500
    assert "slates" in parse_options(read_header(unseal(model).payload).options)

    canaries = [(encode_context({"mood": mood}), LINES) for mood in MOODS]
    report = check_model(model, used, canaries)
    assert report.ok, report.problems
    predictor = Predictor(model, used)
    for shared, lines in canaries:
        p = distribution(used, predictor, shared, lines, IDS)
        assert p.dtype == np.float64
        assert abs(math.fsum(p) - 1) < 1e-12
        assert p.min() > 1e-9
    predictor.close()


@pytest.mark.parametrize("algorithm", sorted(set(USABLE) - {"bag"}))
def test_two_rounds_of_slates_leave_the_weights_of_one(algorithm: str) -> None:
    used = policy(algorithm)
    first, second = (round_of(number, 100, used, None) for number in (0, 1))
    once = unseal(learn(initial_model(used), used, first + second)).payload
    twice = unseal(learn(learn(initial_model(used), used, first), used, second)).payload
    assert len(once) == len(twice)
    assert sum(a != b for a, b in zip(once, twice, strict=True)) <= 1


@pytest.mark.parametrize("algorithm", USABLE)
def test_a_prediction_of_slates_does_not_depend_on_what_was_asked_before(algorithm: str) -> None:
    used = policy(algorithm)
    model = learn(initial_model(used), used, round_of(0, 100, used, None))
    asked, fresh = Predictor(model, used), Predictor(model, used)
    generator = random.Random(5)
    for _ in range(200):
        some = generator.sample(LINES, generator.randint(1, len(LINES)))
        asked.distribution(encode_context({"mood": generator.choice(MOODS)}), some, 0.05)
    for mood in MOODS:
        question = (encode_context({"mood": mood}), LINES, 0.05)
        assert (asked.distribution(*question) == fresh.distribution(*question)).all()
    asked.close()
    fresh.close()


def test_a_model_that_learned_only_silence_answers_the_same_at_every_question() -> None:
    # VW notes the first example with several slots in memory and in the model: it must not matter when that was.
    used = policy()
    silent = [Example(encode_context({"mood": "tired"}), [NOTHING], 0, 1.0, 0.3, [1.0])] * 30
    model = learn(initial_model(used), used, silent)
    predictor = Predictor(model, used)
    first = predictor.distribution(encode_context({"mood": "tired"}), LINES, 0.05)
    assert predictor.distribution(encode_context({"mood": "tired"}), [NOTHING], 0.05).tolist() == [1.0]
    assert (predictor.distribution(encode_context({"mood": "tired"}), LINES, 0.05) == first).all()
    predictor.close()


def test_saying_nothing_has_its_own_learned_value() -> None:
    used = policy()
    model, _ = online(used, 10, 150)
    predictor = Predictor(model, used)
    silence = {mood: distribution(used, predictor, encode_context({"mood": mood}), LINES, IDS)[-1] for mood in MOODS}
    predictor.close()
    assert silence["tired"] > 0.8
    assert silence["curious"] < 0.2
    assert silence["hurried"] < 0.2


def test_only_eligible_parts_take_part_and_the_order_of_lines_is_kept() -> None:
    used = policy()
    model, _ = online(used, 3, 100)
    predictor = Predictor(model, used)
    some = [LINES[3], NOTHING, LINES[0]]
    p = predictor.distribution(encode_context({"mood": "tired"}), some, 0.05)
    back = predictor.distribution(encode_context({"mood": "tired"}), some[::-1], 0.05)
    assert p.tolist() == pytest.approx(back.tolist()[::-1], rel=1e-6)
    assert len(p) == 3
    assert predictor.distribution(encode_context({}), [LINES[4]], 0.05).tolist() == [1.0]
    predictor.close()


def test_one_line_of_several_parts_is_an_ordinary_action_to_other_learners() -> None:
    ordinary = BanditPolicy("squarecb", {"bits": 14})
    examples = [one._replace(chances=None) for one in round_of(0, 400, policy(), None)]
    predictor = Predictor(learn(initial_model(ordinary), ordinary, examples), ordinary)
    p = distribution(ordinary, predictor, encode_context({"mood": "hurried"}), LINES, IDS)
    predictor.close()
    best = IDS.index("progress|brisk|go")
    assert p[best] > 2 / len(IDS)
    rows = [row_line(e.shared_line, e.action_lines[e.chosen]) for e in examples]
    model = fit(rows, [1 - e.cost for e in examples])
    good, bad = (row_line(encode_context({"mood": "hurried"}), one) for one in (LINES[best], LINES[-2]))
    assert np.diff(predict(model, [bad, good], 0.0, 1.0))[0] > 0


def test_what_is_logged_gives_the_off_policy_values_of_slates() -> None:
    used, generator = policy(), random.Random(11)
    model, _ = online(used, 4, 150)
    predictor = Predictor(model, used)
    table = slates.table_of([slates.parts_of(one) for one in LINES[:-1]])
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chances": None}, "whole logged distribution"),
        ({"chances": [0.5] * len(LINES)}, "does not sum to 1"),
        ({"chances": [1.0]}, "does not sum to 1"),
        ({"chances": [0.0] * (len(LINES) - 1) + [1.0]}, "is 0 at what was chosen"),
        ({"chances": [math.nan] * len(LINES)}, "does not sum to 1"),
        ({"propensity": 0.0}, "propensity"),
        ({"cost": math.inf}, "cost"),
        ({"chosen": 99}, "chosen"),
        ({"shared_line": "shared |c a\nb"}, "as encode_context"),
        ({"shared_line": "|c a"}, "as encode_context"),
        ({"action_lines": [LINES[0]] * len(LINES)}, "same combination"),
        ({"action_lines": [LINES[0], "|a =x |a =y"], "chances": [0.5, 0.5]}, "same slots"),
    ],
)
def test_an_example_that_slates_cannot_learn_from_is_named_and_nothing_is_learned(
    change: dict[str, object], words: str
) -> None:
    used = policy()
    good = round_of(0, 3, used, None)
    bad = good[1]._replace(chosen=0)._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(TrainingDataError, match=words) as caught:
        learn(initial_model(used), used, [good[0], bad])
    assert caught.value.index == 1


def test_actions_that_are_no_combinations_are_refused() -> None:
    used = policy()
    predictor = Predictor(learn(initial_model(used), used, round_of(0, 20, used, None)), used)
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


def test_a_model_of_slates_and_one_of_actions_never_stand_in_for_each_other() -> None:
    used, other = policy(), BanditPolicy("squarecb", {"bits": 14})
    with pytest.raises(ModelError, match="slates"):
        Predictor(initial_model(used), other)
    with pytest.raises(ModelError, match="slates"):
        Predictor(initial_model(other), used)


def test_policies_say_whether_they_fill_slots() -> None:
    given = {"type": "bandit", "algorithm": "softmax", "slates": True}
    parsed = parse_policy(given)
    assert isinstance(parsed, BanditPolicy)
    assert parsed.slates
    assert parse_policy(policy_to_json(parsed)) == parsed
    assert "slates" not in policy_to_json(BanditPolicy("softmax", {}))
    assert "slates" not in policy_to_json(UniformPolicy())
    with pytest.raises(PolicyError, match="policy_no_slates"):
        parse_policy(given | {"algorithm": "cover"})
    with pytest.raises(PolicyError, match="not_true_or_false"):
        parse_policy(given | {"slates": "yes"})


def test_threads_share_a_predictor_of_slates_and_it_does_not_leak() -> None:
    used = policy()
    model, _ = online(used, 2, 100)
    predictor = Predictor(model, used)
    questions = [(encode_context({"mood": mood}), LINES, 0.05) for mood in MOODS]
    expected = [predictor.distribution(*one).tolist() for one in questions]

    def ask(number: int) -> bool:
        return predictor.distribution(*questions[number % 3]).tolist() == expected[number % 3]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(600)))
        before = peak_bytes()
        assert all(pool.map(ask, range(4000)))
    assert peak_bytes() - before < 30e6
    predictor.close()
