"""One stretch of an experiment's log as arrays: what happened, and what any policy would have done there.

Only arms that choose at random are read (learning and uniform ones): a fixed arm gives every other action no chance, so
its rows support no other policy. Arms are assigned at random, so the rows that remain are a fair sample of contexts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.services.examples import Configs
from app.services.experiment_config import ExperimentConfig
from app.store.evaluations import LoggedRow
from bandits.cost import cost_of
from bandits.encoding import drop_features, encode_context
from bandits.model import Example, Predictor, distribution
from bandits.policy import FixedPolicy, Policy, parse_policy
from bandits.reward_model import row_line

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LogTable:
    """n rows in time order, at most K eligible actions each; actions are positions in the row's own list."""

    rows: list[LoggedRow]
    shared: list[str]  # encoded contexts
    lines: list[list[str]]  # encoded eligible actions
    chosen: NDArray[np.int64]  # (n,)
    propensity: FloatArray  # (n,)
    logged: FloatArray  # (n, K): the logged distribution, 0 where there is no action
    reward: FloatArray  # (n,)
    unit: NDArray[np.int64]  # (n,) codes from 0

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, cut: slice) -> "LogTable":
        """Consecutive rows; units are numbered anew."""
        units = np.unique(self.unit[cut], return_inverse=True)[1]
        return LogTable(
            self.rows[cut],
            self.shared[cut],
            self.lines[cut],
            self.chosen[cut],
            self.propensity[cut],
            self.logged[cut],
            self.reward[cut],
            units,
        )

    def probabilities(
        self, policy: Policy, predictor: Predictor | None, off: Iterable[str], tick: Callable[[int], None]
    ) -> FloatArray:
        """What a policy would do on every row, shape (n, K), rows sum to 1 over the eligible actions.

        :param off: top-level context fields that the policy does not see.
        :param tick: told the number of rows done, now and then.
        """
        table = np.zeros_like(self.logged)
        hidden = frozenset(off)
        for place, row in enumerate(self.rows):
            shared = encode_context(drop_features(row.context, hidden)) if hidden else self.shared[place]
            found = distribution(policy, predictor, shared, self.lines[place], row.eligible)
            table[place, : len(found)] = found
            if place % 500 == 0:
                tick(place)
        return table

    def examples(self, config: ExperimentConfig, off: Iterable[str]) -> list[Example]:
        """Training examples of all rows, for a learner that does not see some fields."""
        hidden = frozenset(off)
        low, high = config.reward.min, config.reward.max
        return [
            Example(
                encode_context(drop_features(row.context, hidden)) if hidden else shared,
                lines,
                row.chosen,
                row.propensity,
                cost_of(row.reward, low, high),
            )
            for row, shared, lines in zip(self.rows, self.shared, self.lines, strict=True)
        ]

    def chosen_lines(self) -> list[str]:
        """Reward-model lines of the logged pairs."""
        triples = zip(self.shared, self.lines, self.chosen, strict=True)
        return [row_line(shared, lines[index]) for shared, lines, index in triples]

    def all_lines(self) -> list[str]:
        """Reward-model lines of every eligible pair, row by row."""
        pairs = zip(self.shared, self.lines, strict=True)
        return [row_line(shared, line) for shared, lines in pairs for line in lines]

    def unsupported(self, target: FloatArray) -> float:
        """Share of the target's probability on actions that were never logged in these rows."""
        logged = {row.eligible[row.chosen] for row in self.rows}
        wanted: defaultdict[str, float] = defaultdict(float)
        for row, chances in zip(self.rows, target, strict=True):
            for name, chance in zip(row.eligible, chances, strict=False):
                wanted[name] += float(chance)
        return float(sum(mass for name, mass in wanted.items() if name not in logged) / max(len(self.rows), 1))

    def best_fixed(self) -> FixedPolicy:
        """The action with the highest self-normalised mean reward in these rows."""
        total: defaultdict[str, float] = defaultdict(float)
        weight: defaultdict[str, float] = defaultdict(float)
        for row in self.rows:
            name = row.eligible[row.chosen]
            total[name] += row.reward / row.propensity
            weight[name] += 1 / row.propensity
        return FixedPolicy(max(weight, key=lambda name: total[name] / weight[name]))


def random_arms(config: ExperimentConfig) -> list[str]:
    """Arms in which every action has a chance."""
    return [arm.key for arm in config.arms if not isinstance(parse_policy(arm.policy), FixedPolicy)]


def build(rows: Iterable[LoggedRow], configs: Configs) -> LogTable:
    """The arrays of rows in time order."""
    kept = list(rows)
    lines = [configs.lines(row.config_version, row.actions, row.eligible) for row in kept]
    logged = np.zeros((len(kept), max((len(row.eligible) for row in kept), default=1)))
    for place, row in enumerate(kept):
        logged[place, : len(row.distribution)] = row.distribution
    units = np.unique([row.unit_id for row in kept], return_inverse=True)[1] if kept else np.zeros(0, dtype=np.int64)
    return LogTable(
        kept,
        [encode_context(row.context) for row in kept],
        lines,
        np.array([row.chosen for row in kept], dtype=np.int64),
        np.array([row.propensity for row in kept]),
        logged,
        np.array([row.reward for row in kept]),
        units.astype(np.int64),
    )
