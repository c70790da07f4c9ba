"""Vowpal Wabbit's algorithms and what they add: actions that were tried, and features at their own scale."""

from typing import Any

import numpy as np
import pytest

from bandits import vw_model
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example, TrainingDataError
from bandits.learner.feature_stats import LogStats
from bandits.learner.stats_file import stats_from_bytes, stats_to_bytes
from bandits.learner.vw_learner import FIRST_MAGIC, MOST_NUMBERS, MOST_TRIED, Opened, seal
from bandits.model import Predictor, describe, distribution, initial_model, learn
from bandits.model_file import ModelError
from bandits.policy import ALGORITHMS, NOT_FOR_SLATES, BanditPolicy, PolicyError, parse_policy, policy_to_json
from bandits.safety import check_model
from bandits.untried import key_of, share_untried
from benchmarks.play import Call, play

NAMES = ["a", "b", "c"]
ACTIONS = [encode_action(name, {"price": 1e6 * place}) for place, name in enumerate(NAMES)]


def policy(algorithm: str = "squarecb", **members: Any) -> BanditPolicy:
    parsed = parse_policy({"type": "bandit", "algorithm": algorithm, "scaling": True, **members})
    assert isinstance(parsed, BanditPolicy)
    return parsed


def round_of(n: int, seed: int, **more: Any) -> list[Example]:
    """Uniform decisions where b pays for incomes above 52,000 and a below."""
    random = np.random.default_rng(seed)
    examples = []
    for income, chosen in zip(random.normal(52_000, 9_000, n).tolist(), random.integers(3, size=n), strict=True):
        paid = float(chosen == int(income > 52_000))
        context = encode_context({"income": income, **more})
        examples.append(Example(context, ACTIONS, int(chosen), 1 / 3, 1.0 - paid, [1 / 3] * 3))
    return examples


def rate(used: BanditPolicy) -> float:
    random = np.random.default_rng(5)
    incomes = random.normal(52_000, 9_000, 1500).tolist()
    calls = [Call({"income": income, "account": int(random.integers(10**9))}, NAMES) for income in incomes]
    return float(play(used, calls, lambda row, chosen: float(chosen == int(incomes[row] > 52_000)))[500:].mean())


def test_a_number_of_any_size_is_learned_and_only_with_scaling() -> None:
    plain = parse_policy({"type": "bandit", "algorithm": "squarecb"})
    assert isinstance(plain, BanditPolicy)
    assert rate(policy()) > rate(plain) + 0.15


def test_one_ordinary_number_does_not_stop_regcb() -> None:
    random = np.random.default_rng(0)
    plans, ages = random.choice(["x", "y"], 2000).tolist(), random.integers(18, 81, 2000).tolist()
    calls = [Call({"plan": plan, "age": age}, NAMES) for plan, age in zip(plans, ages, strict=True)]
    pays = {"x": 0, "y": 1}

    rewards = play(
        BanditPolicy("regcb", {}), calls, lambda row, chosen: float(chosen == pays[plans[row]]), round_size=250
    )
    assert rewards[-500:].mean() > 0.9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("rate", [0.03, 0.97])
def test_an_action_that_nobody_tried_gets_its_share(algorithm: str, rate: float) -> None:
    """Its cost is unknown, which is neither 0 nor 1: it neither takes over where rewards are rare, nor starves."""
    used = BanditPolicy(algorithm, {})
    random = np.random.default_rng(4)
    model = initial_model(used)
    for _ in range(5):
        chosen, paid = random.integers(2, size=500).tolist(), (random.random((500, 2)) < [rate - 0.02, rate + 0.02])
        model = learn(
            model,
            used,
            [
                Example(encode_context({}), ACTIONS[:2], action, 0.5, 1.0 - float(row[action]), [0.5, 0.5])
                for action, row in zip(chosen, paid, strict=True)
            ],
        )
    predictor = Predictor(model, used)
    shares = predictor.distribution(encode_context({}), [*ACTIONS[:2], encode_action("new", {"price": 9})], 0.02)
    predictor.close()
    assert shares[2] == pytest.approx(1 / 3) and sum(shares) == pytest.approx(1.0)


def test_a_new_possibility_of_a_slot_gets_its_share() -> None:
    used = BanditPolicy("squarecb", {}, slates=True)
    lines = ["|a =a |a =x", "|a =b |a =x"]
    shown = [Example("shared |c", lines, n % 2, 0.5, float(n % 20 != 0), [0.5, 0.5]) for n in range(400)]
    predictor = Predictor(learn(initial_model(used), used, shown), used)
    assert predictor.own("shared |c", [*lines, "|a =c |a =x"])[1][2] == pytest.approx(1 / 3)
    predictor.close()


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([True, True, True], [0.7, 0.2, 0.1]),
        ([True, True, False], [14 / 27, 4 / 27, 1 / 3]),
        ([True, False, False], [0.7, 0.2, 0.1]),
        ([False, False, False], [0.7, 0.2, 0.1]),
    ],
)
def test_what_was_not_tried_gets_its_share_unless_it_is_most(tried: list[bool], expected: list[float]) -> None:
    assert share_untried([0.7, 0.2, 0.1], tried) == pytest.approx(expected)


def test_half_of_the_actions_may_be_new() -> None:
    assert share_untried([0.9, 0.1], [True, False]) == pytest.approx([0.5, 0.5])
    assert share_untried([0.6, 0.2, 0.1, 0.1], [True, True, False, False]) == pytest.approx([0.375, 0.125, 0.25, 0.25])


def test_a_key_is_made_of_ids_alone() -> None:
    assert key_of("|a price:3 =x") == key_of("|a =x") != key_of("|a =y") and len(key_of("|a =x")) == 8
    assert key_of("|a =x |a =y") not in (key_of("|a =x"), key_of("|a =y |a =x"))


def test_an_action_without_any_chance_leaves_the_rest_to_the_others_alike() -> None:
    assert share_untried([0.0, 0.0, 1.0], [True, True, False]) == [1 / 3] * 3


def test_ids_that_differ_in_every_call_are_not_kept() -> None:
    used = parse_plain()
    shown = [
        Example("shared |c", [f"|a =n{row} good:{row % 2}", f"|a =m{row} good:0"], 0, 0.5, 1.0 - row % 2, [0.5, 0.5])
        for row in range(MOST_TRIED + 1)
    ]
    model = learn(initial_model(used), used, shown)
    before = learn(initial_model(used), used, shown[:-1])
    assert len(before) - len(model) > 8 * MOST_TRIED - 1000
    predictor = Predictor(learn(model, used, shown[:1]), used)
    good = predictor.distribution("shared |c", ["|a =n1 good:0", "|a =new good:1"], 0.02)[1]
    predictor.close()
    assert good > 0.6, "features decide between an old and a new action"


@pytest.mark.parametrize("scaling", [False, True])
def test_models_from_before_actions_were_kept_go_on_as_they_were(scaling: bool) -> None:
    used = policy() if scaling else parse_plain()
    plain = vw_model.initial_model(used)
    before = seal(Opened(None, LogStats(), plain), FIRST_MAGIC) if scaling else plain
    child = learn(before, used, round_of(50, 1))
    assert child[:8] == (FIRST_MAGIC if scaling else plain[:8]) and child != learn(
        initial_model(used), used, round_of(50, 1)
    )
    assert scaling or child == vw_model.learn(plain, used, round_of(50, 1))
    assert check_model(child, used, [(encode_context({"income": 1.0}), ACTIONS)]).ok
    assert Predictor(child, used).examples == 50


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("slates", [False, True])
def test_every_algorithm_learns_the_same_bytes_again_and_serves(algorithm: str, slates: bool) -> None:
    if slates and algorithm in NOT_FOR_SLATES:
        pytest.skip("it does not learn slates")
    used = policy(algorithm, slates=slates)
    model = initial_model(used)
    for seed in range(3):
        model = learn(model, used, round_of(50, seed))
    again = initial_model(used)
    for seed in range(3):
        again = learn(again, used, iter(round_of(50, seed)))
    assert model == again and learn(model, used, []) == model
    lines = ["|a =a price:1 |a =x", "|a =b |a =x"] if slates else ACTIONS
    report = check_model(model, used, [(encode_context({"income": 1.0, "later": "new"}), lines)])
    assert (report.ok, report.examples) == (True, 150)
    assert not check_model(initial_model(used), used, []).ok


def test_what_is_left_out_is_said_and_cannot_change_a_choice() -> None:
    used = policy()
    model = learn(initial_model(used), used, round_of(200, 1, same=3))
    assert {"code": "constant", "feature": "same", "line": "context"} in describe(model, used)["notes"]  # type: ignore[operator]
    predictor = Predictor(model, used)
    answers = [
        distribution(used, predictor, encode_context({"income": 60_000, "same": same}), ACTIONS, NAMES).tolist()
        for same in (3, 1e9)
    ]
    predictor.close()
    assert answers[0] == answers[1] and answers[0][1] > 0.5


def test_damaged_bytes_and_bad_examples_are_refused() -> None:
    used = policy()
    model = learn(initial_model(used), used, round_of(20, 1))
    for damaged in (
        b"",
        model[:-1],
        model[:60] + bytes([model[60] ^ 1]) + model[61:],
        initial_model(parse_plain()),
        vw_model.initial_model(used),
    ):
        with pytest.raises(ModelError):
            Predictor(damaged, used)
        assert not check_model(damaged, used, []).ok
    bad = round_of(3, 1)
    bad[1] = bad[1]._replace(shared_line="shared |c income:many")
    with pytest.raises(TrainingDataError, match="example 1"):
        learn(model, used, bad)


def parse_plain() -> BanditPolicy:
    return BanditPolicy("squarecb", {})


def test_a_model_stays_small_whatever_is_sent_and_its_statistics_survive_their_bytes() -> None:
    stats = LogStats()
    for row in range(3):
        features = {f"f{number}": number * 1.5 + row for number in range(2000)} | {"word": f"w{row}"}
        stats.add(encode_context(features), ["|a =a p:3", "|a =b"])
    stats.contexts.keep(MOST_NUMBERS)
    content = stats_to_bytes(stats)
    assert len(stats.contexts.numbers) == MOST_NUMBERS and stats.contexts.crowded and len(content) < 100_000
    assert stats_from_bytes(content) == stats and stats_to_bytes(stats_from_bytes(content)) == content
    with pytest.raises(ValueError, match="statistics"):
        stats_from_bytes(content + b"0")


def test_the_policy_says_scaling_only_where_it_is_on() -> None:
    assert policy_to_json(policy())["scaling"] is True
    assert "scaling" not in policy_to_json(parse_plain())
    for wrong in (
        {"scaling": "yes", "algorithm": "bag"},
        {"scaling": True},
        {"scaling": True, "algorithm": "thompson"},
    ):
        with pytest.raises(PolicyError, match="/scaling"):
            parse_policy({"type": "bandit", **wrong})
