"""What bounds on exposure would cost a learning arm, by the log: its value with each bound, and without.

The arm is taken as it ran: each decision by the version that served then. A bound moves each of these distributions as it
would have moved it in the draw (``bandits.exposure``), so nothing is fitted again, and the difference of the two values on the
same decisions is the cost. What the arm would have learned otherwise under the bound is not part of it.

A target over a window follows what groups had before (``bandits.exposure``). The log's decisions are gone through in their order,
and what each group would have had is counted by its expectation: the sum of its probabilities under the bound. So what a decision
does depends on the contexts before it alone, not on what was drawn, and its value is estimated like any other policy's.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.design.fallbacks import policy_in_force
from app.foundation.formats.intervals import IntervalDocument
from app.off_policy.documents import Price, PricePoint
from app.off_policy.evaluation_request import PriceQuestion
from app.off_policy.log_table import FloatArray, LogTable
from app.off_policy.policies import Policies, Target
from app.off_policy.search import Baseline, difference
from app.off_policy.valued import Sample, Valued, value_of
from bandits.encoding import escape
from bandits.exposure import ACTION, Counts, Exposure, constrained, groups_of, parse_exposure
from bandits.exposure import value_of as value_of_line
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy
from experiments.validation import DataError

STEPS = 8  # of the bounds that are valued when none are named
NEWEST = 200  # decisions whose actions have to have the feature
DIGITS = 4  # of these bounds
MOST_LEAST = 0.5  # the largest bound of what each group gets at least


def price(sample: Sample, policies: Policies, question: PriceQuestion) -> Price:
    """Value an arm without bounds, and within each bound of a question.

    :raises DataError: no action has the feature, or no decision has actions of several groups.
    """
    late = sample.late
    if question.by != ACTION and not _has(late, question.by):
        text = f"no action has a text feature {question.by!r}"
        raise DataError(text, fix=f"name a text feature of the newest actions, or {ACTION}")
    target = Target(
        question.arm, f"arm {question.arm} as it ran", "as_it_ran", _policy(policies, question), arm=question.arm
    )
    free = _without_bounds(late, question.arm, policies)
    return along(sample, target, free, question)


def along(sample: Sample, target: Target, free: FloatArray, question: PriceQuestion) -> Price:
    """Value a policy without bounds, and within each bound of a question.

    :param free: (n, K) its distribution on every row of the sample without a bound; zeros where it did not run.
    """
    late = sample.late
    groups = max(max(groups_of(lines, question.by)) + 1 for lines in late.lines)
    if groups < 2:
        raise DataError("no decision has actions of several groups", fix="name a feature that tells the actions apart")
    base = value_of(sample, target, partial(_rows, free))
    points = [_point(None, base, base, sample, _smallest(late, free, question.by))]
    for bound in question.values or bounds(question.bound, groups):
        moved = within(late, free, exposure_of(question, bound))
        valued = value_of(sample, target, partial(_rows, moved))
        points.append(_point(bound, valued, base, sample, _smallest(late, moved, question.by)))
    return Price(
        arm=question.arm,
        by=question.by,
        bound=question.bound,
        window=question.window,
        groups=groups,
        decisions=base.line.scored_on or 0,
        points=points,
    )


def bounds(kind: str, groups: int) -> list[float]:
    """Bounds in equal steps, from nearly none to equal shares of so many groups."""
    even = 1.0 / groups
    ends = {"least": (0.0, min(even, MOST_LEAST)), "most": (1.0, even), "parity": (min(1.0 - even, 0.5), 0.0)}
    first, last = ends[kind]
    return [round(first + (last - first) * step / STEPS, DIGITS) for step in range(1, STEPS + 1)]


def exposure_of(question: PriceQuestion, bound: float) -> Exposure:
    """One of the bounds of a question, as a policy has it."""
    return parse_exposure({"by": question.by, question.bound: bound, "window": question.window})


def within(late: LogTable, chances: FloatArray, exposure: Exposure) -> FloatArray:
    """Each row's distribution, moved within bounds as the draw would have moved it; rows of zeros stay."""
    moved, window = np.zeros_like(chances), _Window(exposure.window or 0)
    for index, lines in enumerate(late.lines):
        row = chances[index, : len(lines)]
        if row.sum() > 0:
            names = names_of(late.rows[index].eligible, lines, exposure.by) if exposure.windowed else []
            moved[index, : len(lines)] = inside = constrained(row, lines, exposure, window.counts(names))
            window.add(names, inside)
    return moved


class _Window:
    """What groups are expected to have had of the newest decisions."""

    def __init__(self, longest: int) -> None:
        """:param longest: decisions; 0: nothing is counted."""
        self._rows: deque[dict[str, float]] = deque()
        self._longest = longest
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._eligible: defaultdict[str, int] = defaultdict(int)

    def counts(self, names: Sequence[str]) -> Counts | None:
        if not names:
            return None
        groups = dict.fromkeys(names)
        sums, eligible = [self._sums[name] for name in groups], [self._eligible[name] for name in groups]
        return Counts(len(self._rows), sums, eligible, 0.0)

    def add(self, names: Sequence[str], chances: FloatArray) -> None:
        row: defaultdict[str, float] = defaultdict(float)
        for name, chance in zip(names, chances.tolist(), strict=False):
            row[name] += chance
        self._count(row, 1)
        self._rows.append(row)
        if len(self._rows) > self._longest:
            self._count(self._rows.popleft(), -1)

    def _count(self, row: Mapping[str, float], sign: int) -> None:
        for name, chance in row.items():
            self._sums[name] += sign * chance
            self._eligible[name] += sign


def _has(late: LogTable, by: str) -> bool:
    return any(f" {escape(by)}=" in line for lines in late.lines[-NEWEST:] for line in lines)


def _rows(chances: FloatArray, _: LogTable, rows: NDArray[np.int64]) -> FloatArray:
    return chances[rows]


def _policy(policies: Policies, question: PriceQuestion) -> BanditPolicy:
    return replace(policies.policy(question.arm), exposure=None)


def _without_bounds(late: LogTable, arm: str, policies: Policies) -> FloatArray:
    """The arm's distribution on every row without the bounds that it ran with; as logged where it ran without."""
    table = late.arms[arm].copy()
    version = next((row.policy_version for row in late.rows if row.arm == arm), 0)
    again: defaultdict[tuple[int, BanditPolicy], list[int]] = defaultdict(list)
    for index, row in enumerate(late.rows):
        version = row.policy_version if row.arm == arm else version
        config = policies.configs.get(row.config_version)
        spec = next((spec for spec in config.arms if spec.key == arm), None)
        policy = None if spec is None else policy_in_force(config, spec)
        if isinstance(policy, BanditPolicy) and policy.exposure is not None and row.arm_distributions is None:
            again[version, replace(policy, exposure=None)].append(index)
    for (number, policy), rows in again.items():
        _recompute(table, late, rows, policy, partial(policies.version, arm, number))
    return table


def _recompute(
    table: FloatArray, late: LogTable, rows: Sequence[int], policy: BanditPolicy, load: Callable[[], Predictor | None]
) -> None:
    predictor = load()
    try:
        for index in rows:
            eligible, above = late.rows[index].eligible, late.above[index]
            chances = distribution(policy, predictor, late.shared[index], late.lines[index], eligible, above)
            table[index, : len(chances)] = chances
    finally:
        if predictor is not None:
            predictor.close()


def _smallest(late: LogTable, chances: FloatArray, by: str) -> float | None:
    """The smallest mean exposure of a group over the rows that have a distribution."""
    totals: defaultdict[str, float] = defaultdict(float)
    rows = 0
    for index, (row, lines) in enumerate(zip(late.rows, late.lines, strict=True)):
        own = chances[index, : len(lines)]
        if own.sum() <= 0:
            continue
        rows += 1
        for name, chance in zip(names_of(row.eligible, lines, by), own, strict=True):
            totals[name] += float(chance)
    return min(totals.values()) / rows if rows else None


def names_of(eligible: Sequence[str], lines: Sequence[str], by: str) -> list[str]:
    """The group of each action as a text that is the same in every decision."""
    if by == ACTION:
        return list(eligible)
    return [value_of_line(line, by) for line in lines]


def _point(bound: float | None, valued: Valued, base: Valued, sample: Sample, smallest: float | None) -> PricePoint:
    cost, interval = (0.0, None) if bound is None else _cost(valued, base, sample)
    return PricePoint(
        bound=bound,
        smallest=smallest,
        value=valued.line.value,
        interval=valued.line.interval,
        cost=cost,
        cost_interval=interval,
        reasons=valued.line.reasons,
    )


def _cost(valued: Valued, base: Valued, sample: Sample) -> tuple[float | None, IntervalDocument | None]:
    if np.array_equal(valued.contributions, base.contributions, equal_nan=True):
        return 0.0, IntervalDocument(low=0.0, high=0.0, note="the bound changes nothing in these decisions")
    gap = difference(valued, Baseline(base.contributions, base.verdict, sample.late.group_units, sample.alpha))
    if gap is None:
        return None, None
    ends = {"low": _negative(gap.interval.high), "high": _negative(gap.interval.low)}
    return -gap.difference, gap.interval.model_copy(update=ends)


def _negative(end: float | None) -> float | None:
    return None if end is None else -end
