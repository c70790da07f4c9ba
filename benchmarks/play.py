"""Plays a bandit world with the platform's own code: encoded raw features, logged propensities, rounds, refits.

What the service does with a log is done here without a database: a decision draws from `bandits.model.distribution`, a round
learns with `learn`, and a model that wants a refit is fitted from nothing over the log.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bandits.distribution import sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution, initial_model, learn_onwards
from bandits.policy import BanditPolicy

ROUND = 100  # decisions that are learned at once


class Call(NamedTuple):
    """One call for a decision."""

    context: dict[str, object]
    actions: Sequence[str]  # ids of the eligible actions
    features: Sequence[dict[str, object] | None] = ()  # of the actions; empty: they have none


class Platform:
    """An arm that learns as the service does."""

    def __init__(self, policy: BanditPolicy) -> None:
        self.policy, self.model = policy, initial_model(policy)
        self.log: list[Example] = []
        self._predictor: Predictor | None = None

    def probabilities(self, call: Call) -> tuple[str, list[str], list[float]]:
        """The encoded context, the encoded actions, and the distribution over them."""
        shared = encode_context(call.context)
        features = call.features or [None] * len(call.actions)
        lines = [encode_action(name, own) for name, own in zip(call.actions, features, strict=True)]
        return shared, lines, distribution(self.policy, self._predictor, shared, lines, call.actions).tolist()

    def decide(self, call: Call, draw: float) -> tuple[int, Example]:
        """The chosen action's index, and its example, whose cost the caller sets."""
        shared, lines, chances = self.probabilities(call)
        chosen = sample(chances, draw)
        return chosen, Example(shared, lines, chosen, chances[chosen], 0.0)

    def learn(self, examples: Sequence[Example]) -> None:
        """One round, and a refit if the model wants one."""
        self.log += examples
        self.model = learn_onwards(self.model, self.policy, self.log, len(examples))
        self.serve()

    def serve(self) -> None:
        """Let the newest model decide from now on."""
        if self._predictor is not None:
            self._predictor.close()
        self._predictor = Predictor(self.model, self.policy)


def play(
    policy: BanditPolicy,
    calls: Sequence[Call],
    reward: Callable[[int, int], float],
    *,
    seed: int = 0,
    delay: int = 0,
    round_size: int = ROUND,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Rewards of the calls, shape (n,), in [0, 1].

    :param reward: from a call's number and the chosen action's index.
    :param delay: rounds between a decision's round and that in which its reward is learned.
    """
    platform, random = Platform(policy), np.random.default_rng(seed)
    earned, waiting = np.zeros(len(calls)), list[list[Example]]()
    for first in range(0, len(calls), round_size):
        examples = []
        for number in range(first, min(first + round_size, len(calls))):
            chosen, example = platform.decide(calls[number], float(random.random()))
            earned[number] = reward(number, chosen)
            examples.append(example._replace(cost=1.0 - float(earned[number])))
        waiting.append(examples)
        if len(waiting) > delay:
            platform.learn(waiting.pop(0))
    return earned
