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
    groups: list[Groups]  # by look: choices against propensities


class _Memory:
    """What one arm knows of its actions."""

    def __init__(self, actions: int, floor: float) -> None:
        self.count, self.total, self.floor = np.zeros(actions), np.zeros(actions), floor

    def distribution(self) -> FloatArray:
        size = len(self.count)
        if self.count.min() == 0:
            return np.full(size, 1 / size)
        best = int(np.argmax(self.total / self.count))
        chances = np.full(size, self.floor / size)
        chances[best] += 1 - self.floor
        return chances

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
        self.kept: BoolArray = np.ones(len(log.unit), dtype=np.bool_)
        self.values, self.expected = np.zeros(len(log.unit)), np.zeros(len(log.unit))
        self.groups: list[Groups] = []

    def run(self) -> Learned:
        for look in range(len(self.course.ends)):
            self._play(look)
        return Learned(self.log.only(self.kept), self.values[self.kept], self.expected[self.kept], self.groups)

    def _play(self, look: int) -> None:
        now = np.flatnonzero(self.log.look == look)
        extra = np.zeros(len(now))
        groups = dict(self.groups[-1]) if self.groups else {}
        chosen: dict[int, IntArray] = {}
        for arm, memory in self.memories.items():
            mine = np.flatnonzero(self.log.arm[now] == arm)
            chances = memory.distribution()
            chosen[arm] = self.random.choice(len(chances), len(mine), p=chances)
            extra[mine] = self.effects[chosen[arm]]
            self.expected[now[mine]] = float(chances @ self.effects)
            kept = self.random.random(len(mine)) >= self.lost[chosen[arm]]
            self.kept[now[mine]] = kept
            if kept.any():
                sums = choice_sums(chosen[arm][kept], np.tile(chances, (int(kept.sum()), 1)))
                self._add(groups, self.course.arms[arm], look, sums)
        self._fixed(groups, now)
        self.groups.append(groups)
        at_look = np.zeros(len(self.log.unit), dtype=np.bool_)
        at_look[now] = True
        first = self.course.world.metrics[0]
        self.values[now] = draw_values(self.course, first, self.log.only(at_look), extra, self.random)
        for arm, memory in self.memories.items():
            mine = now[self.log.arm[now] == arm]
            there = self.kept[mine]
            memory.learn(chosen[arm][there], self.values[mine[there]])

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
