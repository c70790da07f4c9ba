"""Models of composed messages: they learn, replay bit for bit, and refuse what they cannot learn from."""

import math
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bandits.encoding import encode_context
from bandits.examples import Example, TrainingDataError
from bandits.model import Predictor, distribution
from bandits.model_file import ModelError, parse_options, read_header, unseal
from bandits.parameters import ALGORITHMS, NOT_FOR_SLATES
from bandits.policy import BanditPolicy
from bandits.safety import check_model
from bandits.vw_model import initial_model, learn
from tests.bandits.slates_support import (
    IDS,
    LINES,
    MOODS,
    NOTHING,
    online,
    policy,
    round_of,
)
from tests.bandits.support import peak_bytes

USABLE = sorted(set(ALGORITHMS) - NOT_FOR_SLATES)


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
def test_a_prediction_of_slates_does_not_depend_on_earlier_predictions(algorithm: str) -> None:
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


def test_a_model_that_learned_only_silence_always_answers_the_same() -> None:
    # VW notes the first example with several slots in memory and in the model: it must not matter when that was.
    used = policy()
    silent = [Example(encode_context({"mood": "tired"}), [NOTHING], 0, 1.0, 0.3, [1.0])] * 30
    model = learn(initial_model(used), used, silent)
    predictor = Predictor(model, used)
    first = predictor.distribution(encode_context({"mood": "tired"}), LINES, 0.05)
    assert predictor.distribution(encode_context({"mood": "tired"}), [NOTHING], 0.05).tolist() == [1.0]
    assert (predictor.distribution(encode_context({"mood": "tired"}), LINES, 0.05) == first).all()
    predictor.close()


def test_saying_nothing_has_a_learned_value_of_its_own() -> None:
    used = policy()
    model, _ = online(used, 10, 150)
    predictor = Predictor(model, used)
    silence = {mood: distribution(used, predictor, encode_context({"mood": mood}), LINES, IDS)[-1] for mood in MOODS}
    predictor.close()
    assert silence["tired"] > 0.8
    assert silence["curious"] < 0.2
    assert silence["hurried"] < 0.2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chances": None}, "whole logged distribution"),
        ({"chances": [0.5] * len(LINES)}, "does not sum to 1"),
        ({"chances": [1.0]}, "does not sum to 1"),
        ({"chances": [0.0] * (len(LINES) - 1) + [1.0]}, "gives the chosen action probability 0"),
        ({"chances": [math.nan] * len(LINES)}, "does not sum to 1"),
        ({"propensity": 0.0}, "propensity"),
        ({"cost": math.inf}, "cost"),
        ({"chosen": 99}, "chosen"),
        ({"shared_line": "shared |c a\nb"}, "what encode_context"),
        ({"shared_line": "|c a"}, "what encode_context"),
        ({"action_lines": [LINES[0]] * len(LINES)}, "same combination"),
        ({"action_lines": [LINES[0], "|a =x |a =y"], "chances": [0.5, 0.5]}, "same slots"),
    ],
)
def test_the_error_names_an_example_that_slates_cannot_learn_and_nothing_is_learned(
    change: dict[str, object], words: str
) -> None:
    used = policy()
    good = round_of(0, 3, used, None)
    bad = good[1]._replace(chosen=0)._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(TrainingDataError, match=words) as caught:
        learn(initial_model(used), used, [good[0], bad])
    assert caught.value.index == 1


def test_models_of_slates_and_of_actions_are_not_interchangeable() -> None:
    used, other = policy(), BanditPolicy("squarecb", {"bits": 14})
    with pytest.raises(ModelError, match="slates"):
        Predictor(initial_model(used), other)
    with pytest.raises(ModelError, match="slates"):
        Predictor(initial_model(other), used)


def test_threads_share_a_predictor_of_slates_and_it_does_not_leak() -> None:
    used = policy()
    model, _ = online(used, 2, 100)
    predictor = Predictor(model, used)
    questions = [(encode_context({"mood": mood}), LINES, 0.05) for mood in MOODS]
    expected = [predictor.distribution(*question).tolist() for question in questions]

    def ask(number: int) -> bool:
        return predictor.distribution(*questions[number % 3]).tolist() == expected[number % 3]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(600)))
        before = peak_bytes()
        assert all(pool.map(ask, range(4000)))
    assert peak_bytes() - before < 30e6
    predictor.close()
