"""A small synthetic problem: five actions, and the context names the action that pays."""

import random
import resource
import sys
from collections.abc import Sequence

from bandits.cost import cost_of
from bandits.distribution import FloatArray, draw, sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy
from bandits.vw_model import initial_model, learn

IDS = [f"a{i}" for i in range(5)]
ACTIONS = [encode_action(action_id, {"group": index % 2}) for index, action_id in enumerate(IDS)]
CANARIES = [(encode_context({"taste": str(i)}), ACTIONS) for i in range(3)]


def policy(algorithm: str = "epsilon_greedy", floor: float = 0.05, **parameters: object) -> BanditPolicy:
    return BanditPolicy(algorithm, {"bits": 12, **parameters}, floor)


def round_of(
    number: int, size: int, chosen_policy: BanditPolicy, predictor: Predictor | None, seed: int = 3
) -> list[Example]:
    """A round of logged decisions, chosen as the service chooses."""
    generator = random.Random(f"{seed}/{number}")
    examples = []
    for index in range(size):
        taste = generator.randrange(len(IDS))
        shared = encode_context({"taste": str(taste), "noise": generator.random()})
        p: FloatArray = distribution(chosen_policy, predictor, shared, ACTIONS, IDS)
        chosen = sample(p, draw(b"salt", f"{seed}/{number}/{index}"))
        cost = cost_of(1.0 if chosen == taste else 0.0, 0.0, 1.0)
        examples.append(Example(shared, ACTIONS, chosen, float(p[chosen]), cost))
    return examples


def online(chosen_policy: BanditPolicy, rounds: int = 12, size: int = 80) -> tuple[bytes, list[list[Example]]]:
    """Learns online; returns the bytes of the last model and the examples of every round."""
    model, logged = initial_model(chosen_policy), []
    predictor: Predictor | None = None
    for number in range(rounds):
        logged.append(round_of(number, size, chosen_policy, predictor))
        model = learn(model, chosen_policy, logged[-1])
        if predictor:
            predictor.close()
        predictor = Predictor(model, chosen_policy)
    if predictor:
        predictor.close()
    return model, logged


def mean_reward(examples: Sequence[Example]) -> float:
    return sum(1.0 - example.cost for example in examples) / len(examples)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
