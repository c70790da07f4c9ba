"""Values a policy on ranked lists: the whole list, and each position under what the policy itself put above it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import CoursePoint, EstimatorLine, PolicyLine, PositionLine
from app.off_policy.log_table import LogTable, clusters
from app.off_policy.policies import Target
from app.off_policy.policy_line import described, histogram, reasons_of, too_few
from experiments.off_policy import lists, unit_sums
from experiments.off_policy.lists import ListColumns
from experiments.off_policy.verdict import Reason, Status, Verdict
from experiments.policy_reports import value_course
from experiments.policy_reports.headline import hull
from experiments.policy_reports.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.policy_reports.value_course import Course
from experiments.results import Interval, missing

FloatArray = NDArray[np.float64]
MIN_LISTS = 50
Range = tuple[tuple[float, float], float]  # of a position's rewards, and alpha


class ValuedLists(NamedTuple):
    """A policy's value per list."""

    line: PolicyLine
    first_rows: NDArray[np.int64]  # (lists,) the row of each list's first position
    contributions: FloatArray  # (lists,)
    verdict: Verdict | None


class _Lists(NamedTuple):
    """Lists as arrays."""

    table: NDArray[np.int64]  # (lists, positions) rows; -1: the list is shorter
    columns: ListColumns
    unit: NDArray[np.int64] | None
    bounds: tuple[float, float]  # of a list's sum of rewards


def value_lists(
    part: LogTable, target: Target, chances: FloatArray, predictions: FloatArray, given: Range
) -> ValuedLists:
    """Value a policy on the lists of a log.

    :param chances: (n, K) the policy's distribution on every row; ``predictions`` as long.
    """
    table = lists.grid(part.group, part.position)
    first_rows = table[:, 0] if len(table) else np.zeros(0, dtype=np.int64)
    if len(table) < MIN_LISTS:
        line = too_few(target, len(table), int(part.group.max()) + 1, MIN_LISTS)
        return ValuedLists(line, first_rows, np.zeros(len(table)), None)
    data = _columns(part, table, chances, predictions, given[0])
    reports = _positions(data, given, part.unsupported(chances))
    judged = _worst(reports)
    contributions = lists.cascade_dr(data.columns)
    line = described(_line(target, data, judged, given[1]), target, part)
    if judged.identified:
        line.positions = [_position(data, position, given) for position in range(len(reports))]
        line.course = _course(data, contributions, part, given[1])
    return ValuedLists(line, first_rows, contributions, judged)


def columns_of(part: LogTable, table: NDArray[np.int64], chances: FloatArray, predictions: FloatArray) -> ListColumns:
    """The arrays that list estimators take."""
    rows, absent = np.where(table < 0, 0, table), table < 0

    def cells(values: FloatArray, filler: float) -> FloatArray:
        return np.asarray(np.where(absent, filler, values[rows]))

    at = np.arange(len(part)), part.chosen
    arms = np.stack([cells(arm[at], 1.0) for arm in part.arms.values()])
    return ListColumns(
        np.minimum(lists.prefix_propensity(arms, part.share[table[:, 0]]), 1.0),
        np.minimum(np.cumprod(cells(chances[at], 1.0), axis=1), 1.0),
        cells(part.reward, 0.0),
        cells(predictions[at], 0.0),
        cells((predictions * chances).sum(axis=1), 0.0),
    )


def _columns(
    part: LogTable, table: NDArray[np.int64], chances: FloatArray, predictions: FloatArray, bounds: tuple[float, float]
) -> _Lists:
    sizes = (table >= 0).sum(axis=1)
    low, high = bounds
    ends = (min(low * sizes.min(), low * sizes.max()), max(high * sizes.min(), high * sizes.max()))
    units = np.unique(part.unit[table[:, 0]], return_inverse=True)[1].astype(np.int64)
    return _Lists(table, columns_of(part, table, chances, predictions), clusters(units), ends)


def _positions(data: _Lists, given: Range, unsupported: float) -> list[OffPolicyReport]:
    """A report for each position, weighted by the product of the weights down to it."""
    columns, reports = data.columns, []
    for position in range(data.table.shape[1]):
        there = np.flatnonzero(data.table[:, position] >= 0)
        if len(there) < MIN_LISTS:
            break
        unit = None if data.unit is None else np.unique(data.unit[there], return_inverse=True)[1].astype(np.int64)
        above = columns.above[there, position]
        reports.append(
            evaluate_rows(
                columns.propensity[there, position],
                columns.target[there, position],
                columns.reward[there, position],
                model=ModelColumns(columns.q[there, position], above * columns.v[there, position]),
                unit=unit,
                assumptions=Assumptions(given[1], reward_range=given[0]),
                unsupported_mass=unsupported,
            )
        )
    return reports


def _worst(reports: list[OffPolicyReport]) -> Verdict:
    """A list's verdict: every finding at any position, with the numbers of the lowest position that has it."""
    reasons: dict[str, Reason] = {}
    for report in reports:
        reasons |= {reason.code: reason for reason in report.verdict.reasons}
    if any(reason.fatal for reason in reasons.values()):
        return Verdict(Status.NOT_IDENTIFIED, tuple(reasons.values()))
    return Verdict(Status.WARNING if reasons else Status.IDENTIFIED, tuple(reasons.values()))


def _line(target: Target, data: _Lists, judged: Verdict, alpha: float) -> PolicyLine:
    columns = data.columns
    weights = columns.weights[:, -1]
    contributions, shown = lists.cascade_dr(columns), judged.identified
    one_look = unit_sums.one_look(unit_sums.mean_sums(contributions, data.unit), data.bounds, alpha)
    estimators = {
        "list_dr": _estimator(contributions, data, lists.CASCADE, alpha),
        "list_cascade": _estimator(lists.cascade(columns), data, lists.CASCADE, alpha),
        "list_ips": _estimator(lists.whole_list(columns), data, lists.WHOLE_LIST, alpha),
    }
    return PolicyLine(
        policy=target.name,
        text=target.text,
        features_off=list(target.features_off),
        value=float(contributions.mean()) if shown else None,
        interval=document_of(hull(_sequence(data, contributions, alpha), one_look)) if shown else None,
        one_look=document_of(one_look) if shown else None,
        one_look_method="unit_sums" if shown else None,
        headline="list_dr, always_valid" if shown else None,
        status=str(judged.status),
        **reasons_of(judged),
        effective_sample_size=unit_sums.kish(weights),
        mean_weight=float(weights.mean()),
        max_weight=float(weights.max()),
        overlap=float(np.mean(weights > 0)),
        weight_histogram=histogram(weights),
        estimators=estimators,
    )


def _estimator(rows: FloatArray, data: _Lists, estimand: str, alpha: float) -> EstimatorLine:
    sums = unit_sums.mean_sums(rows, data.unit)
    return EstimatorLine(
        value=float(rows.mean()),
        std_error=unit_sums.standard_error(sums),
        intervals={"normal": document_of(unit_sums.one_look(sums, data.bounds, alpha))},
        estimand=estimand,
        reason="",
    )


def _sequence(data: _Lists, contributions: FloatArray, alpha: float) -> Interval:
    w, total = data.columns.weights[:, -1], data.columns.reward.sum(axis=1)
    closed = unit_sums.shut(unit_sums.unit_sums(w * total, w, data.unit), data.bounds)
    sums = unit_sums.mean_sums(contributions, data.unit)
    return missing(closed) if closed else unit_sums.always_valid(sums, data.bounds, alpha)


def _position(data: _Lists, position: int, given: Range) -> PositionLine:
    """One position's part of the doubly robust value; with lists of one length, the parts add up to the whole."""
    columns, (bounds, alpha) = data.columns, given
    there = np.flatnonzero(data.table[:, position] >= 0)
    w, r = columns.weights[there, position], columns.reward[there, position]
    contributions = columns.above[there, position] * columns.v[there, position] + w * (r - columns.q[there, position])
    unit = None if data.unit is None else np.unique(data.unit[there], return_inverse=True)[1].astype(np.int64)
    sums, closed = (
        unit_sums.mean_sums(contributions, unit),
        unit_sums.shut(unit_sums.unit_sums(w * r, w, unit), bounds),
    )
    one_look = unit_sums.one_look(sums, bounds, alpha)
    interval = missing(closed) if closed else hull(unit_sums.always_valid(sums, bounds, alpha), one_look)
    return PositionLine(
        position=position + 1,
        lists=len(there),
        value=sums.value,
        interval=document_of(interval),
        one_look=document_of(one_look),
    )


def _course(data: _Lists, contributions: FloatArray, part: LogTable, alpha: float) -> list[CoursePoint]:
    w, total = data.columns.weights[:, -1], data.columns.reward.sum(axis=1)
    unbounded = np.full(len(w), np.inf)
    course = Course(w, total, contributions, np.ones_like(w), unbounded, data.unit, data.bounds)
    return [
        CoursePoint(
            decisions=int((data.table[: point.rows] >= 0).sum()),
            at=part.rows[data.table[point.rows - 1, 0]].decided_at.isoformat(),
            value=point.value,
            interval=document_of(point.interval),
        )
        for point in value_course.of_units(course, alpha)
    ]
