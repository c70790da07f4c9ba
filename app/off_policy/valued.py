"""Values one policy on the rows that it had not learned: its line in the table, and what each decision contributes."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import CoursePoint, PolicyLine, ValuedModel
from app.off_policy.list_values import value_lists
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Target
from app.off_policy.policy_line import described, policy_line, too_few
from bandits.policy import policy_to_json
from experiments.off_policy.estimators import importance_weights
from experiments.off_policy.verdict import Verdict
from experiments.policy_reports import value_course
from experiments.policy_reports.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.policy_reports.value_course import Course

MIN_SCORED = 100  # rows that a policy may score; with fewer it has no value
FloatArray = NDArray[np.float64]


class Sample(NamedTuple):
    """The evaluated part of a log."""

    late: LogTable
    predictions: FloatArray  # (n, K) of each eligible action, out of fold
    bounds: tuple[float, float]  # of rewards
    alpha: float
    settled_until: str = ""  # the log is what was settled then


class Valued(NamedTuple):
    """One policy with its value. A case is a decision, or a list where the experiment answers lists."""

    line: PolicyLine
    contributions: FloatArray  # (cases,) their mean is the doubly robust value; NaN where the policy may not be scored
    verdict: Verdict | None  # null: too few rows


def value(sample: Sample, target: Target, tick: Callable[[int], None]) -> Valued:
    """Value a policy on the rows that it may score."""
    return value_of(sample, target, lambda part, _: target.probabilities(part, tick))


def value_of(sample: Sample, target: Target, chances_of: Callable[[LogTable, NDArray[np.int64]], FloatArray]) -> Valued:
    """Value a policy whose distribution on the rows that it may score is made from the target's.

    :param chances_of: of these rows, and of their indexes in the sample; shape (rows, K).
    """
    late = sample.late
    allowed = target.may_score(late)
    if late.answers_lists:  # a list counts as a whole
        whole = np.bincount(late.group, weights=~allowed) == 0
        allowed = whole[late.group]
    rows, cases = np.flatnonzero(allowed), int(late.group.max()) + 1
    contributions = np.full(cases, np.nan)
    if len(rows) < MIN_SCORED:
        return Valued(too_few(target, len(rows), len(late), MIN_SCORED), contributions, None)
    part = late if len(rows) == len(late) else late.take(rows)
    chances, predictions = chances_of(part, rows), sample.predictions[rows]
    if late.answers_lists:
        lists = value_lists(part, target, chances, predictions, (sample.bounds, sample.alpha))
        contributions[late.group[rows[lists.first_rows]]] = lists.contributions
        lists.line.model = _model(sample, target)
        return Valued(lists.line, contributions, lists.verdict)
    line, verdict, contributions[rows] = _decisions(part, target, chances, sample._replace(predictions=predictions))
    line.model = _model(sample, target)
    return Valued(line, contributions, verdict)


def _model(sample: Sample, target: Target) -> ValuedModel | None:
    """The model that a policy which learns forward ends with: what it would serve with, and a stage attaches."""
    forward = target.forward
    if forward is None or not forward.model:
        return None
    return ValuedModel(
        sha256=hashlib.sha256(forward.model).hexdigest(),
        decisions=sum(forward.rounds),
        rounds=forward.rounds,
        settled_until=sample.settled_until,
        policy=policy_to_json(forward.policy),
    )


def _decisions(
    part: LogTable, target: Target, chances: FloatArray, sample: Sample
) -> tuple[PolicyLine, Verdict, FloatArray]:
    rows = np.arange(len(part))
    q, v = sample.predictions[rows, part.chosen], (sample.predictions * chances).sum(axis=1)
    target_chances = np.minimum(chances[rows, part.chosen], 1.0)
    possible = possible_weights(part, chances)
    report = evaluate_rows(
        part.propensity,
        target_chances,
        part.reward,
        model=ModelColumns(q, v),
        unit=part.clusters,
        assumptions=Assumptions(
            sample.alpha, reward_range=sample.bounds, possible_weight=possible, stands_for=part.stands_for
        ),
        unsupported_mass=part.unsupported(chances),
    )
    w = importance_weights(part.propensity, target_chances)
    contributions = v + w * (part.reward - q)
    line = described(policy_line(target, report, w), target, part)
    if report.verdict.identified:
        modelled = report.headline.estimator == "dr"
        count = np.ones_like(w) if part.stands_for is None else part.stands_for
        course = Course(
            w * count,
            part.reward,
            count * (contributions if modelled else w * part.reward),
            count if modelled else w * count,
            possible,
            rows if part.stands_for is not None and part.clusters is None else part.clusters,
            sample.bounds,
        )
        line.course = _course(course, report, part, sample.alpha)
    return line, report.verdict, contributions


def _course(course: Course, report: OffPolicyReport, part: LogTable, alpha: float) -> list[CoursePoint]:
    """The headline over time; its last point is the headline itself."""
    points = (value_course.of_rows if course.unit is None else value_course.of_units)(course, alpha)
    lead = report.headline
    points[-1] = points[-1]._replace(value=lead.value, interval=lead.always_valid)
    return [
        CoursePoint(
            decisions=point.rows,
            at=part.rows[point.rows - 1].decided_at.isoformat(),
            value=point.value,
            interval=document_of(point.interval),
        )
        for point in points
    ]


def possible_weights(late: LogTable, chances: FloatArray) -> FloatArray:
    """The largest weight that any action of each row could have had, shape (n,); infinite where weights have no bound.

    They have none when the log has only the chosen action's probability (an imported log), or when the target takes an
    action that could not be logged.
    """
    weights = np.divide(chances, late.logged, out=np.zeros_like(chances), where=late.logged > 0)
    unbounded = ((chances > 0) & (late.logged <= 0)).any(axis=1)
    return np.asarray(np.where(unbounded, np.inf, weights.max(axis=1)))
