"""Values policies that did not decide on a run's log, as an evaluation on the platform does, and compares with the truth.

The report, its headline and its course are the platform's own (``experiments.policy_reports``). The propensity of a row is
the mixture of the arms, as in ``app.off_policy.mixture``. Predictions are each action's mean before the row's look.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from app.simulation.course import Course, is_reward
from app.simulation.learner import Learned
from experiments.off_policy.estimators import importance_weights
from experiments.policy_reports import value_course
from experiments.policy_reports.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.policy_reports.value_course import Point
from experiments.results import Interval
from experiments.validation import FloatArray, IntArray

MAX_ROWS = 40_000  # the newest so many, as an evaluation takes the newest 100,000
BOUNDS = (0.0, 1.0)


class PolicyAnswer(NamedTuple):
    """What an evaluation says of one policy."""

    policy: str
    broken: bool  # choices of all its actions are missing in the log
    refused: bool  # the verdict: the log does not identify its value
    every_look: bool | None  # whether the intervals cover the truth; null: refused
    one_look: bool | None  # null: refused, or there is no interval


class _Rows(NamedTuple):
    """The evaluated rows, in time order."""

    look: IntArray
    chosen: IntArray
    reward: FloatArray
    unit: IntArray | None
    logged: FloatArray  # (rows, actions)
    predicted: FloatArray  # (rows, actions)
    truth: FloatArray  # (rows, actions)


def evaluate(course: Course, learned: Learned) -> list[PolicyAnswer]:
    """Value each arm that learns as it ran, and each action that was there from the start.

    Empty where the world states no value by action: nothing learns, or what a decision is worth depends on more than its action.
    """
    world = course.world
    depends = any(world.metrics[0].effects.values()) or any(world.lost.rewards.values()) or world.bots.units
    if depends or any(world.lost.exposures.values()) or not is_reward(world, world.metrics[0]):
        return []
    rows = _rows(course, learned)
    lost = np.array([world.lost.choices.get(action, 0.0) for action in world.actions]) > 0
    answers = []
    for name, chances in _policies(course, learned, rows):
        broken = not (chances[:, ~lost] > 0).any()
        if broken or not lost.any():  # nothing is claimed where choices of some other actions are missing
            answers.append(_answer(name, rows, chances, broken=broken))
    return answers


def _rows(course: Course, learned: Learned) -> _Rows:
    order = np.argsort(learned.log.look, kind="stable")[-MAX_ROWS:]
    log, world = learned.log.only(order), course.world
    share = np.array([[stretch.shares.get(arm, 0.0) for arm in course.arms] for stretch in course.world.stretches])
    mixture = np.einsum("la,lak->lk", share[course.stretch_of_look], learned.chances)
    effects = np.array(list(world.learning.actions.values()))
    base = world.metrics[0].level * log.factor
    unit = None if log.single else np.unique(log.unit, return_inverse=True)[1]
    chosen, reward = learned.chosen[order], learned.values[order]
    return _Rows(
        log.look,
        chosen,
        reward,
        unit,
        mixture[log.look],
        _earlier_means(log.look, chosen, reward, learned.chances.shape)[log.look],
        (base[:, None] + effects) * (1 - world.lost.late_rewards),
    )


def _earlier_means(look: IntArray, chosen: IntArray, reward: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Each action's mean reward before each look, shape (looks, actions); 0 where there is none."""
    counts, sums = np.zeros((shape[0], shape[2])), np.zeros((shape[0], shape[2]))
    np.add.at(counts, (look, chosen), 1.0)
    np.add.at(sums, (look, chosen), reward)
    before = [np.cumsum(table, axis=0) - table for table in (sums, counts)]
    return np.asarray(before[0] / np.maximum(before[1], 1.0))


def _policies(course: Course, learned: Learned, rows: _Rows) -> Iterator[tuple[str, FloatArray]]:
    world = course.world
    for arm in world.learning.arms:
        yield arm, learned.chances[rows.look, course.arms.index(arm)]
    for index, action in enumerate(world.actions):
        if action not in world.learning.since:
            yield f"always {action}", np.tile(np.eye(len(world.actions))[index], (len(rows.look), 1))


def _answer(name: str, rows: _Rows, chances: FloatArray, *, broken: bool) -> PolicyAnswer:
    index = np.arange(len(rows.look))
    target, propensity = chances[index, rows.chosen], rows.logged[index, rows.chosen]
    q, v = rows.predicted[index, rows.chosen], (rows.predicted * chances).sum(axis=1)
    possible = np.divide(chances, rows.logged, out=np.zeros_like(chances), where=rows.logged > 0).max(axis=1)
    assumptions = Assumptions(reward_range=BOUNDS, possible_weight=possible)
    model = ModelColumns(q, v)
    report = evaluate_rows(propensity, target, rows.reward, model=model, unit=rows.unit, assumptions=assumptions)
    if broken or not report.verdict.identified:
        return PolicyAnswer(name, broken, not report.verdict.identified, None, None)
    w = importance_weights(propensity, target)
    modelled = report.headline.estimator == "dr"
    amount, weight = (v + w * (rows.reward - q), np.ones_like(w)) if modelled else (w * rows.reward, w)
    course = value_course.Course(w, rows.reward, amount, weight, possible, rows.unit, BOUNDS)
    points = (value_course.of_rows if rows.unit is None else value_course.of_units)(course)
    truth = np.cumsum((rows.truth * chances).sum(axis=1)) / (index + 1)
    return PolicyAnswer(name, broken, False, *_right(points, report, truth))


def _right(points: list[Point], report: OffPolicyReport, truth: FloatArray) -> tuple[bool, bool | None]:
    """Whether the intervals at every look cover the truth, and the one for one look at the end."""
    lead, end = report.headline, float(truth[-1])
    every = [(point.interval, float(truth[point.rows - 1])) for point in points[:-1]] + [(lead.always_valid, end)]
    one = lead.one_look
    return all(_holds(interval, value) for interval, value in every), one.covers(end) if one.exists else None


def _holds(interval: Interval, value: float) -> bool:
    return not interval.exists or interval.covers(value)
