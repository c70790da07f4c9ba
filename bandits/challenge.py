"""Scores a challenger against what ran: both on rows that the challenger had not learned, part by part.

The difference of their values is estimated doubly robust (Dudík, Langford & Li 2011): row by row
``sum_a (c(a) - p(a)) q(a) + (c(a_i) / p(a_i) - 1) (r_i - q(a_i))``, c being the challenger's distribution, p the logged one, and
q a regression of the reward that was fitted on earlier rows. Rewards are in [0, 1]: 1 - cost.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from bandits import reward_model
from bandits.distribution import FloatArray
from bandits.examples import Example
from bandits.model import Predictor, learn, learn_from_nothing
from bandits.policy import BanditPolicy

PARTS: Final = 4
LEAST: Final = 100  # rows before the first part, and in all parts together
MOST_SCORED: Final = 2_000
LEAD: Final = 2.0  # standard errors by which a challenger has to be ahead
PASSES: Final = 3  # over the log, for algorithms that otherwise see each row once


class Score(NamedTuple):
    """How much more a challenger earns per decision than what ran; rewards from 0 to 1."""

    rows: int  # that were scored
    difference: float
    error: float  # standard error

    @property
    def wins(self) -> bool:
        """Whether the challenger is ahead by more than chance gives."""
        return self.rows >= LEAST and self.difference > LEAD * self.error


def learned(
    untrained: bytes, policy: BanditPolicy, examples: Sequence[Example], passes: int, earlier: int = 0
) -> bytes:
    """The challenger: learned from nothing over these rows. The same bytes every time. Raises as ``bandits.model.learn``.

    :param untrained: the model that the challenger's lineage began with.
    :param passes: over the rows, for Vowpal Wabbit's own algorithms; others choose their own.
    :param earlier: decisions that count as learned and are not among the rows, for policies with `rebuilds`.
    """
    if policy.rebuilds:
        return learn_from_nothing(policy, examples, "", earlier)
    return learn(untrained, policy, examples, passes)


def score(
    untrained: bytes, policy: BanditPolicy, examples: Sequence[Example], chances: Sequence[FloatArray], passes: int
) -> Score:
    """Score the challenger that learns these rows on the newest of them, each part by one that learned what came before.

    :param examples: oldest first; at most half of them, and MOST_SCORED, are scored.
    :param chances: of each row, the logged distribution over its actions.
    """
    scored = min(len(examples) // 2, MOST_SCORED)
    if scored < LEAST:
        return Score(0, 0.0, math.inf)
    borders = np.linspace(len(examples) - scored, len(examples), PARTS + 1).astype(int)
    gaps = [
        _gaps(
            Predictor(learned(untrained, policy, examples[:first], passes), policy),
            policy,
            examples[:first],
            examples[first:until],
            chances[first:until],
        )
        for first, until in pairwise(borders.tolist())
    ]
    values = np.concatenate(gaps)
    return Score(len(values), float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)))


def _gaps(
    predictor: Predictor,
    policy: BanditPolicy,
    before: Sequence[Example],
    part: Sequence[Example],
    chances: Sequence[FloatArray],
) -> FloatArray:
    floor = policy.floor_at(predictor.examples)
    try:
        chosen = [predictor.distribution(row.shared_line, list(row.action_lines), floor) for row in part]
    finally:
        predictor.close()
    rewards = [1.0 - row.cost for row in before]
    lines = [reward_model.row_line(row.shared_line, row.action_lines[row.chosen]) for row in before]
    asked = [reward_model.row_line(row.shared_line, line) for row in part for line in row.action_lines]
    flat = reward_model.predict(reward_model.fit(lines, rewards), asked, 0.0, 1.0)
    ends = np.cumsum([len(row.action_lines) for row in part])
    values = np.zeros(len(part))
    for index, (row, q) in enumerate(zip(part, np.split(flat, ends[:-1]), strict=True)):
        weight = chosen[index][row.chosen] / row.propensity - 1.0
        values[index] = (chosen[index] - chances[index]) @ q + weight * (1.0 - row.cost - q[row.chosen])
    return values
