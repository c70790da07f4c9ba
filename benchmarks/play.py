"""Plays a bandit world with the platform's own code: encoded raw features, logged propensities, rounds, refits.

What the service does with a log is done here without a database: a decision draws from `bandits.model.distribution`, a round
learns with `learn`, and a model that wants a refit is fitted from nothing over the log. The guardian's watch of the value sees
each round, if asked for: when it notices a fall, the model is fitted from nothing.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from app.guardian.thresholds import threshold_of
from bandits.distribution import sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.learner.state import MOST_ROWS
from bandits.model import Predictor, describe, distribution, initial_model, learn_from_nothing, learn_onwards
from bandits.policy import BanditPolicy
from experiments.monitoring import falls
from experiments.monitoring.falls import Watch

ROUND = 100  # decisions that are learned at once
MARGIN = 0.1  # of a fall
THRESHOLD = threshold_of(1)


class Call(NamedTuple):
    """One call for a decision."""

    context: dict[str, object]
    actions: Sequence[str]  # ids of the eligible actions
    features: Sequence[dict[str, object] | None] = ()  # of the actions; empty: they have none


class Platform:
    """An arm that learns as the service does.

    :param guarded: falls of the value are noticed, and answered.
    """

    def __init__(self, policy: BanditPolicy, *, guarded: bool = False) -> None:
        self.policy, self.model = policy, initial_model(policy)
        self.log: list[Example] = []
        self.noticed: list[int] = []  # falls, as numbers of decisions
        self._watch = Watch() if guarded else None
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
        """One round, a refit if the model wants one, and a look at what was earned."""
        self.log += examples
        self.model = learn_onwards(self.model, self.policy, self.log, len(examples))
        self.serve()
        if self._watch is not None and examples:
            self._look(self._watch, 1.0 - np.array([example.cost for example in examples]))

    def fit(self) -> None:
        """Learn the log again from nothing, as after a fall."""
        newest = self.log[-MOST_ROWS:]
        served = str(describe(self.model, self.policy)["served"])
        self.model = learn_from_nothing(self.policy, newest, served, len(self.log) - len(newest))
        self.serve()

    def _look(self, watch: Watch, rewards: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        first = len(self.log) - len(rewards)
        times = np.arange(first, len(self.log), dtype=np.float64)
        seen = falls.observe(watch, rewards, times, margin=MARGIN, most=1.0)
        sure = np.flatnonzero(seen.strength >= THRESHOLD)
        self._watch = falls.restarted(seen.watch) if len(sure) else seen.watch
        if len(sure):
            self.noticed.append(first + int(sure[0]) + 1)
            self.fit()

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
    guarded: bool = False,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Rewards of the calls, shape (n,), in [0, 1].

    :param reward: from a call's number and the chosen action's index.
    :param delay: rounds between a decision's round and that in which its reward is learned.
    """
    platform, random = Platform(policy, guarded=guarded), np.random.default_rng(seed)
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
