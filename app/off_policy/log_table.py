"""Holds a stretch of an experiment's log as arrays, and computes what any policy would have done there.

The propensity of a row is the platform's: units are assigned to arms at random, and then an arm draws an action.
See ``app.off_policy.mixture``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.deciding.prepare import LATER_POSITION, POSITION
from app.design.experiment_config import ExperimentConfig
from app.learning.examples import Configs
from app.off_policy.mixture import LoadVersion, arm_probabilities, encoded, mixed, shares
from app.off_policy.store.evaluations import LoggedRow
from bandits.cost import cost_of
from bandits.examples import Example, of_thinned
from bandits.model import Predictor, distribution
from bandits.policy import FixedPolicy, Policy
from bandits.reward_model import row_line
from experiments.off_policy.folds import forward_folds

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LogTable:
    """n rows in time order, at most K eligible actions each; actions are indexes into the row's own list."""

    rows: list[LoggedRow]
    shared: list[str]  # encoded contexts
    lines: list[list[str]]  # encoded eligible actions
    above: list[list[str]]  # encoded actions at earlier positions of the row's list
    chosen: NDArray[np.int64]  # (n,)
    arms: dict[str, FloatArray]  # by arm, (n, K): its distribution on every row
    share: FloatArray  # (n, arms): the arms' shares of the units
    logged: FloatArray  # (n, K): the platform's distribution, 0 where there is no action
    reward: FloatArray  # (n,)
    unit: NDArray[np.int64]  # (n,) codes from 0
    group: NDArray[
        np.int64
    ]  # (n,) codes from 0 of the lists that rows are positions of; a plain decision is a list of one
    position: NDArray[np.int64]  # (n,) in its list, from 1
    stands_for: FloatArray | None = None  # (n,) decisions that a row stands for; null: each for as many

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def propensity(self) -> FloatArray:
        """The platform's probability of the chosen action, shape (n,)."""
        return self.logged[np.arange(len(self)), self.chosen]

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        """The units, shape (n,), when some unit has several rows; null when rows are independent."""
        return clusters(self.unit)

    @property
    def answers_lists(self) -> bool:
        """Whether some row is a later position of a list."""
        return bool((self.position > 1).any())

    @property
    def group_units(self) -> NDArray[np.int64]:
        """The unit of each list, shape (lists,)."""
        return self.unit[np.unique(self.group, return_index=True)[1]]

    def blocks(self, count: int) -> list[NDArray[np.int64]]:
        """Indexes of rows in ``count`` consecutive parts; no list is cut."""
        parts = forward_folds(int(self.group.max()) + 1, count)
        return [np.flatnonzero((self.group >= part.start) & (self.group < part.stop)) for part in parts]

    def split(self, share: float) -> tuple["LogTable", "LogTable"]:
        """The earlier part with about this share of the rows, and the later part; no list is cut."""
        border = self.group[int(len(self) * share)]
        early, late = (self.take(np.flatnonzero(half)) for half in (self.group < border, self.group >= border))
        return early, late

    def take(self, indexes: NDArray[np.int64]) -> "LogTable":
        """Some rows, in the given order; units and lists get new codes from 0."""
        return LogTable(
            [self.rows[index] for index in indexes],
            [self.shared[index] for index in indexes],
            [self.lines[index] for index in indexes],
            [self.above[index] for index in indexes],
            self.chosen[indexes],
            {arm: table[indexes] for arm, table in self.arms.items()},
            self.share[indexes],
            self.logged[indexes],
            self.reward[indexes],
            _codes(self.unit[indexes]),
            _codes(self.group[indexes]),
            self.position[indexes],
            None if self.stands_for is None else self.stands_for[indexes],
        )

    def with_arms(self, names: Iterable[str]) -> "LogTable":
        """The same log, with these arms also where they had no share yet, as right after they were added."""
        new = [name for name in names if name not in self.arms]
        share = np.hstack([self.share, np.zeros((len(self), len(new)))])
        return replace(self, arms=self.arms | {name: np.zeros_like(self.logged) for name in new}, share=share)

    def without(self, arm: str) -> "LogTable":
        """The rows of the other arms, with the distribution of the other arms as the logged one."""
        share = self.share.copy()
        share[:, list(self.arms).index(arm)] = 0.0
        rest = replace(self, share=share, logged=mixed(self.arms, share))
        return rest.take(np.array([index for index, row in enumerate(self.rows) if row.arm != arm], dtype=np.int64))

    def probabilities(self, policy: Policy, predictor: Predictor | None, tick: Callable[[int], None]) -> FloatArray:
        """A policy's distribution on every row, shape (n, K); rows sum to 1 over the eligible actions.

        :param tick: called now and then with the number of rows done.
        """
        table = np.zeros_like(self.logged)
        for index, row in enumerate(self.rows):
            chances = distribution(
                policy, predictor, self.shared[index], self.lines[index], row.eligible, self.above[index]
            )
            table[index, : len(chances)] = chances
            if index % 500 == 0:
                tick(index)
        return table

    def examples(self, config: ExperimentConfig) -> list[Example]:
        """Training examples of all rows that may be learned, oldest first."""
        low, high = config.reward.min, config.reward.max
        return [
            Example(
                shared,
                lines,
                row.chosen,
                of_thinned(float(chance), row.stands_for),
                cost_of(row.reward, low, high),
                chances[: len(row.eligible)],
            )
            for row, shared, lines, chance, chances in zip(
                self.rows, self.shared, self.lines, self.propensity, self.logged, strict=True
            )
            if row.learns
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
        mass_by_action: defaultdict[str, float] = defaultdict(float)
        for row, chances in zip(self.rows, target, strict=True):
            for name, chance in zip(row.eligible, chances, strict=False):
                mass_by_action[name] += float(chance)
        return float(sum(mass for name, mass in mass_by_action.items() if name not in logged) / max(len(self.rows), 1))

    def best_fixed(self) -> FixedPolicy:
        """The action with the highest self-normalised mean reward in these rows."""
        total: defaultdict[str, float] = defaultdict(float)
        weight: defaultdict[str, float] = defaultdict(float)
        weights = (1.0 if self.stands_for is None else self.stands_for) / self.propensity
        for row, inverse in zip(self.rows, weights, strict=True):
            name = row.eligible[row.chosen]
            total[name] += row.reward * inverse
            weight[name] += inverse
        return FixedPolicy(max(weight, key=lambda name: total[name] / weight[name]))


def build(rows: Iterable[LoggedRow], configs: Configs, load: LoadVersion) -> LogTable:
    """Build the arrays from rows in time order.

    :param load: returns the predictor of an arm's model version (null: untrained).
    """
    logged = list(rows)
    written = encoded(logged, configs)
    arms = arm_probabilities(logged, written, configs, load)
    share = shares(logged, configs, list(arms))
    return LogTable(
        logged,
        *written,
        np.array([row.chosen for row in logged], dtype=np.int64),
        arms,
        share,
        mixed(arms, share),
        np.array([row.reward for row in logged]),
        np.unique([row.unit_id for row in logged], return_inverse=True)[1].astype(np.int64),
        _groups(logged),
        np.array([_position(row) for row in logged], dtype=np.int64),
        _counts(logged),
    )


def clusters(unit: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The units when some unit comes several times, else null."""
    return unit if len(np.unique(unit)) < len(unit) else None


def _codes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _position(row: LoggedRow) -> int:
    """The position in a list; 1 for a plain decision. Ids of imported logs may end alike, so the context has to agree."""
    ending = LATER_POSITION.search(row.id)
    if ending is None or row.context.get(POSITION) != ending[0][1:]:
        return 1
    return int(ending[0][1:])


def _counts(rows: list[LoggedRow]) -> FloatArray | None:
    """How many decisions each row stands for, if some stand for more than others: alike, they change no mean."""
    counts = np.array([1.0 if row.stands_for is None else row.stands_for for row in rows])
    return None if np.ptp(counts) == 0 else counts


def _groups(rows: list[LoggedRow]) -> NDArray[np.int64]:
    """Codes of lists in the order in which lists begin."""
    codes: dict[str, int] = {}
    names = [LATER_POSITION.sub("", row.id) if _position(row) > 1 else row.id for row in rows]
    return np.array([codes.setdefault(name, len(codes)) for name in names], dtype=np.int64)
