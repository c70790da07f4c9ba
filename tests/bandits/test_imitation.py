"""What an apprentice learns: examples that are made from what its callers showed, and the policy that shows it."""

import numpy as np
import pytest

from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.imitation import SHOWN, WORST, imitated
from bandits.model import Predictor, distribution, initial_model, learn
from bandits.policy import BanditPolicy, FirstActionPolicy, PolicyError, parse_policy, policy_to_json
from bandits.vw_model import VwPredictor

NAMES = ["a", "b", "c", "d"]
LINES = [encode_action(name) for name in NAMES]


def _shown(index: int, cost: float = 0.3) -> Example:
    return Example(encode_context({"n": 1}), LINES, index, 1.0, cost)


def test_an_example_holds_what_was_shown_or_another_action_that_earns_the_least() -> None:
    made = [imitated(_shown(2), f"id-{number}") for number in range(4000)]
    of_shown = [example for example in made if example.chosen == 2]
    assert len(of_shown) / len(made) == pytest.approx(SHOWN, abs=0.03)
    assert {(example.propensity, example.cost) for example in of_shown} == {(SHOWN, 0.3)}
    others = [example for example in made if example.chosen != 2]
    assert {example.cost for example in others} == {WORST}
    counts = np.bincount([example.chosen for example in others], minlength=4)
    assert counts[2] == 0 and (counts[[0, 1, 3]] > len(others) / 4).all()  # each as likely as another
    for example in made[:100]:
        assert example.chances is not None and example.propensity == example.chances[example.chosen]
        assert sum(example.chances) == pytest.approx(1.0)
    assert [example.chosen for example in made] == [imitated(_shown(2), f"id-{n}").chosen for n in range(4000)]


def test_a_single_action_is_itself() -> None:
    example = Example(encode_context({}), LINES[:1], 0, 1.0, 0.7)
    made = imitated(example, "any")
    assert (made.chosen, made.propensity, made.cost, list(made.chances or ())) == (0, 1.0, 0.7, [1.0])


@pytest.mark.parametrize("algorithm", ["auto", "squarecb", "epsilon_greedy", "cover", "bag"])
def test_a_model_comes_to_show_what_was_shown(algorithm: str) -> None:
    """Whatever is shown depends on the context, and comes at any place of a call."""
    policy = parse_policy({"type": "bandit", "algorithm": algorithm})
    assert isinstance(policy, BanditPolicy)
    examples, rng = [], np.random.default_rng(1)
    for number in range(1500):
        context, order = int(rng.integers(4)), [int(index) for index in rng.permutation(4)]
        lines = [LINES[index] for index in order]
        shown = Example(
            encode_context({"n": f"c{context}"}), lines, order.index(context), 1.0, float(rng.random() < 0.5)
        )
        examples.append(imitated(shown, f"id-{number}"))
    model = learn(initial_model(policy), policy, examples)
    predictor = Predictor(model, policy)
    likely = [distribution(policy, predictor, encode_context({"n": f"c{n}"}), LINES, NAMES)[n] for n in range(4)]
    assert min(likely) > 0.6, likely


def test_the_first_action_policy_takes_the_first_eligible_action() -> None:
    policy = parse_policy({"type": "first_action"})
    assert policy == FirstActionPolicy() and policy_to_json(policy) == {"type": "first_action"}
    assert distribution(policy, None, "shared |", LINES[1:], NAMES[1:]).tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="at least one action"):
        distribution(policy, None, "shared |", [], [])
    with pytest.raises(PolicyError):
        parse_policy({"type": "first_action", "action": "a"})


def test_what_decides_instead_of_a_model_does_not_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = BanditPolicy("squarecb", instead=FirstActionPolicy(), probe=0.0)
    predictor = Predictor(initial_model(BanditPolicy("squarecb")), BanditPolicy("squarecb"))
    monkeypatch.setattr(VwPredictor, "distribution", None)
    assert distribution(policy, predictor, "shared |", LINES, NAMES).tolist() == [1.0, 0.0, 0.0, 0.0]
