"""Serves a learner: the probability of each action to be the best, under what the served candidate believes."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bandits.distribution import FloatArray, mix_floor
from bandits.learner import regressions
from bandits.learner.columns import SHARED, SharedActions, dense
from bandits.learner.prepared import Prepared
from bandits.learner.state import State
from bandits.learner.thompson import best_probabilities
from bandits.policy import BanditPolicy
from bandits.vw import Scorer

MOST_SETS: Final = 4  # sets of actions that stay prepared
ENCODER_BYTES: Final = 300_000  # measured: what a fitted learner knows of its features, and prepared sets
MOST_SPARSE: Final = SHARED // 4  # dimensions of a vector that are picked one by one


class AutoPredictor:
    """A learner loaded for serving. It is thread-safe and never learns; no call changes a later answer.

    Raises `ModelError` when the bytes are damaged.
    """

    def __init__(self, model_bytes: bytes, policy: BanditPolicy) -> None:
        state = State.from_bytes(model_bytes)
        self._examples = state.examples
        self._fitted = state.scaler is not None
        self._memory = 0
        self._sets: dict[tuple[str, ...], _Actions] = {}
        self._scorer: Scorer | None = None
        if not self._fitted:
            return
        self._encoder, self._scale = state.encoder(), state.scale
        parts = state.race.names[state.race.served].split("+")
        beliefs, files = [part for part in parts if part in state.sums], [p for p in parts if p in state.regressions]
        # A regression knows no uncertainty of its own: that of a belief stands in.
        self._name = beliefs[0] if beliefs else next(name for name in ("shared", "linear") if name in state.sums)
        self._believes = bool(beliefs)
        self._belief = state.belief(self._name)
        self._deviation = policy.exploration * math.sqrt(state.noise)
        self._memory = ENCODER_BYTES + self._belief.inverse.nbytes
        if files:
            self._scorer = regressions.scorer(state.regressions[files[0]])

    @property
    def examples(self) -> int:
        """Decisions that the model has learned from, each counted once."""
        return self._examples

    @property
    def memory_bytes(self) -> int:
        """The solved belief, the prepared sets of actions, and Vowpal Wabbit's memory of a regression."""
        prepared = sum(actions.known.memory_bytes for actions in [*self._sets.values()])
        return self._memory + prepared + (self._scorer.memory_bytes if self._scorer else 0)

    def distribution(self, shared_line: str, action_lines: Sequence[str], floor: float) -> FloatArray:
        """The distribution over the lines with the floor mixed in, shape (K,). Raises `ValueError` on unusable lines."""
        return mix_floor(self._best(shared_line, action_lines), floor)

    def own(self, shared_line: str, action_lines: Sequence[str]) -> list[list[float]]:
        """The probabilities of being the best, before the floor."""
        return [self._best(shared_line, action_lines).tolist()]

    def beliefs(self, shared_line: str, action_lines: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations of the actions' rewards in centred units, shape (K,) each."""
        if not action_lines:
            raise ValueError("needs at least one action line")
        context, shared = self._encoder.context(shared_line, scaled=self._scorer is not None)
        actions = self._actions(tuple(action_lines))
        if isinstance(actions.known, SharedActions):
            mean, variance = self._of_new(actions.known, context)
        else:
            mean, variance = actions.known.of_row(self._encoder.vector(self._name, context))
        mean = self._scale.believable(mean)
        if self._scorer is not None:
            predicted = self._scale.believable(-np.array(self._scorer.scores(shared, actions.lines)))
            mean = 0.5 * (mean + predicted) if self._believes else predicted
        return mean, self._deviation * np.sqrt(variance)

    def close(self) -> None:
        """Frees memory. Further calls do nothing."""
        if self._scorer is not None:
            self._scorer.close()

    def _best(self, shared_line: str, action_lines: Sequence[str]) -> FloatArray:
        if not self._fitted:
            return np.full(len(action_lines), 1.0 / len(action_lines))
        return best_probabilities(*self.beliefs(shared_line, action_lines))

    def _of_new(self, actions: SharedActions, context: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the shared belief says of actions that are not worth preparing."""
        places, values = actions.sparse(context)
        if places.shape[1] <= MOST_SPARSE:
            return self._belief.of_sparse(places, values)
        return self._belief.of_rows(dense(places, values))

    def _actions(self, lines: tuple[str, ...]) -> "_Actions":
        """What is the same in every decision among these actions. Kept for a few sets of them."""
        actions = self._sets.get(lines)
        if actions is None:
            actions = self._first(lines)
            while len(self._sets) >= MOST_SETS:
                self._sets.pop(next(iter(self._sets)), None)
            self._sets[lines] = actions
        elif actions.new:  # a set that comes twice is worth preparing; features of one call are not
            known = actions.known
            if isinstance(known, SharedActions):
                known = Prepared.of_shared(self._belief, known) or known
            actions = self._sets[lines] = actions._replace(known=known, new=False)
        return actions

    def _first(self, lines: tuple[str, ...]) -> "_Actions":
        scaled = [self._encoder.action_line(line) for line in lines] if self._scorer is not None else []
        if self._name == "shared":
            return _Actions(self._encoder.shared(lines), scaled, True)
        blocks = np.array([self._encoder.block(line) for line in lines], dtype=np.int64)
        return _Actions(Prepared.of_blocks(self._belief, blocks), scaled, False)


class _Actions(NamedTuple):
    """A set of actions, for decisions among them."""

    known: SharedActions | Prepared
    lines: list[str]  # scaled, where a regression reads them
    new: bool  # it came once so far
