"""Arms that learn: after each look they prefer the action that earned most so far, and explore with a floor."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from app.reporting.health_checks import MAX_GROUPS
from app.simulation.course import Course
from app.simulation.people import Log
from app.simulation.values import draw_values
from experiments.logs.choices import ChoiceSums, balance_by_group, choice_sums, merge_choices
from experiments.validation import BoolArray, FloatArray, IntArray

Groups = dict[str, ChoiceSums]


class Learned(NamedTuple):
    """A log after its learning arms chose."""

    log: Log
    values: FloatArray  # of the first metric
    expected: FloatArray  # what the arm's way of choosing adds to each decision's mean
    chosen: IntArray  # index of each decision's action
    chances: FloatArray  # (looks, arms, actions): how each arm chose
    groups: list[Groups]  # by look: choices against propensities


class _Memory:
    """What one arm knows of its actions."""

    def __init__(self, actions: int, floor: float) -> None:
        self.count, self.total, self.floor = np.zeros(actions), np.zeros(actions), floor

    def distribution(self, offered: BoolArray) -> FloatArray:
        """The chance of each action, 0 for those that are not offered yet."""
        even = offered / offered.sum()
        if self.count[offered].min() == 0:
            return np.asarray(even)
        means = self.total / np.maximum(self.count, 1)
        chances = self.floor * even
        chances[int(np.argmax(np.where(offered, means, -np.inf)))] += 1 - self.floor
        return np.asarray(chances)

    def learn(self, chosen: IntArray, values: FloatArray) -> None:
        self.count += np.bincount(chosen, minlength=len(self.count))
        self.total += np.bincount(chosen, weights=values, minlength=len(self.count))


def choose(course: Course, log: Log, random: Generator) -> Learned:
    """Let the learning arms choose, look by look, and draw the first metric."""
    return _Chooser(course, log, random).run()


class _Chooser:
    def __init__(self, course: Course, log: Log, random: Generator) -> None:
        learning = course.world.learning
        self.course, self.log, self.random = course, log, random
        self.effects = np.array(list(learning.actions.values()))
        self.lost = np.array([course.world.lost.choices.get(action, 0.0) for action in learning.actions])
        self.memories = {course.arms.index(arm): _Memory(len(self.effects), learning.floor) for arm in learning.arms}
        first = [learning.since.get(action, 1) for action in learning.actions]
        self.offered = np.array(first) <= course.stretch_of_look[:, None] + 1
        self.chances = np.zeros((len(course.ends), len(course.arms), len(self.effects)))
        self.chances[:, :, 0] = 1.0
        self.kept: BoolArray = np.ones(len(log.unit), dtype=np.bool_)
        self.chosen = np.zeros(len(log.unit), dtype=np.int64)
        self.values, self.expected = np.zeros(len(log.unit)), np.zeros(len(log.unit))
        self.groups: list[Groups] = []

    def run(self) -> Learned:
        for look in range(len(self.course.ends)):
            self._play(look)
        kept = self.kept
        log, values, expected, chosen = self.log.only(kept), self.values[kept], self.expected[kept], self.chosen[kept]
        return Learned(log, values, expected, chosen, self.chances, self.groups)

    def _play(self, look: int) -> None:
        now = np.flatnonzero(self.log.look == look)
        groups = dict(self.groups[-1]) if self.groups else {}
        for arm, memory in self.memories.items():
            rows = now[self.log.arm[now] == arm]
            chances = self.chances[look, arm] = memory.distribution(self.offered[look])
            chosen = self.chosen[rows] = self.random.choice(len(chances), len(rows), p=chances)
            self.expected[rows] = float(chances @ self.effects)
            kept = self.kept[rows] = self.random.random(len(rows)) >= self.lost[chosen]
            if kept.any():
                sums = choice_sums(chosen[kept], np.tile(chances, (int(kept.sum()), 1)))
                self._add(groups, self.course.arms[arm], look, sums)
        self._fixed(groups, now)
        self.groups.append(groups)
        self._learn(now)

    def _learn(self, now: IntArray) -> None:
        """Draw the first metric of a look's decisions, and let each arm learn from its own."""
        extra = np.where(np.isin(self.log.arm[now], list(self.memories)), self.effects[self.chosen[now]], 0.0)
        first = self.course.world.metrics[0]
        self.values[now] = draw_values(self.course, first, self.log.only(now), extra, self.random)
        for arm, memory in self.memories.items():
            rows = now[(self.log.arm[now] == arm) & self.kept[now]]
            memory.learn(self.chosen[rows], self.values[rows])

    @staticmethod
    def _add(groups: Groups, arm: str, look: int, sums: ChoiceSums) -> None:
        groups[arm] = merge_choices(groups[arm], sums) if arm in groups else sums
        groups[f"{arm}@{look}"] = sums

    def _fixed(self, groups: Groups, now: IntArray) -> None:
        """Arms that always choose the first action: nothing can be wrong there, but they count among the groups."""
        size = len(self.effects)
        for arm, count in enumerate(np.bincount(self.log.arm[now], minlength=len(self.course.arms))):
            if arm in self.memories or not count:
                continue
            chances = np.zeros((int(count), size))
            chances[:, 0] = 1.0
            sums = choice_sums(np.zeros(int(count), dtype=np.int64), chances)
            name = self.course.arms[arm]
            groups[name] = merge_choices(groups[name], sums) if name in groups else sums
            groups[f"{name}@0"] = groups[name]


def choices_alert(groups: Groups) -> bool:
    """Whether the health check of choices raises an alert, as on the platform."""
    largest = sorted(groups.values(), key=lambda sums: -sums.n)[:MAX_GROUPS]
    return any(balance.alert for balance in balance_by_group(largest))
