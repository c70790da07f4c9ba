"""Makes the lines of a results table from sums over units: one arm compared with the control on one metric.

``experiments`` computes estimates, tests and intervals; this module puts them into the lines of a document.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Literal, NamedTuple

import numpy as np

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import MetricSpec
from app.foundation.formats.intervals import document_of
from app.reporting.comparison.metric_parts import comparisons, value_range
from app.reporting.documents.results import (
    Adjustment,
    AlwaysValid,
    ArmValue,
    ComparisonLine,
    Headline,
    MetricResults,
    NonInferiority,
    ResultsSummary,
    RuleVerdict,
    StoredResults,
)
from app.reporting.store.metric_sums import ArmSums
from experiments.arms.adjustment import adjust_strata
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.arm_sequence import TUNED_AT
from experiments.arms.comparison import Comparison, arm_estimate
from experiments.arms.non_inferiority import non_inferiority
from experiments.arms.strata import Level, StratifiedComparison, compare_strata
from experiments.multiplicity import adjust
from experiments.results import missing
from experiments.sums import Moments, merge_moments
from experiments.validation import DataError

MAX_SEGMENTS = 20
OTHER = "(other)"
"""The segment of all values beyond the ``MAX_SEGMENTS`` with the most units."""


def in_groups(sums: Sequence[ArmSums]) -> list[ArmSums]:
    """The sums with the segments beyond the ``MAX_SEGMENTS`` largest under ``OTHER``: nobody is left out."""
    sizes: dict[str | None, int] = {}
    for row in sums:
        sizes[row.segment] = sizes.get(row.segment, 0) + row.units
    largest = set(sorted(sizes, key=lambda name: -sizes[name])[:MAX_SEGMENTS])
    return [row if row.segment in largest else row._replace(segment=OTHER) for row in sums]


def moments(row: ArmSums) -> Moments:
    """The sums of one arm as ``experiments`` takes them: numerator, denominator and covariate per unit."""
    second = np.array([[row.var_num, row.cov], [row.cov, row.var_den]]) * row.units
    if row.pre is None:
        return Moments(row.units, np.array([row.mean_num, row.mean_den]), second)
    cross = np.array([row.pre.cov_num, row.pre.cov_den]) * row.units
    whole = np.block([[second, cross[:, None]], [cross[None, :], np.array([[row.pre.var * row.units]])]])
    return Moments(row.units, np.array([row.mean_num, row.mean_den, row.pre.mean]), whole)


def arm_values(sums: Sequence[ArmSums]) -> list[ArmValue]:
    """The value of each arm in each segment, over all stretches of shares together."""
    groups: dict[tuple[str, str | None], list[ArmSums]] = {}
    for row in sums:
        groups.setdefault((row.arm, row.segment), []).append(row)
    return [_arm_value(arm, segment, rows) for (arm, segment), rows in groups.items()]


def _arm_value(arm: str, segment: str | None, rows: Sequence[ArmSums]) -> ArmValue:
    cell = _cell(rows)
    units, decisions = sum(row.units for row in rows), sum(row.decisions for row in rows)
    described = partial(ArmValue, arm=arm, segment=segment, units=units, decisions=decisions)
    if cell.moments.mean[1] <= 0:
        return described(value=None, std_error=None, reason="the denominator sums to 0")
    estimate = arm_estimate(cell.moments)
    return described(value=estimate.value, std_error=float(np.sqrt(estimate.variance)) if units > 1 else None)


def _cell(rows: Sequence[ArmSums]) -> ArmCell:
    units = sum(row.units for row in rows)
    size = sum(row.units * row.mean_size for row in rows) / units
    events = round(sum(row.units * row.mean_num for row in rows)) if all(row.binary for row in rows) else None
    return ArmCell(reduce(merge_moments, (moments(row) for row in rows)), size, events)


class Pair(NamedTuple):
    """The two arms of a comparison, and its segment."""

    arm: str
    control: str
    segment: str | None


class StratumKey(NamedTuple):
    """What is equal for units that are compared with each other."""

    chance: float | None  # of the arm, given that a unit got it or the control; null: not known
    segment: str | None


class Compared(NamedTuple):
    """A line with the figures that it was made from; null where nothing can be compared."""

    line: ComparisonLine
    figures: StratifiedComparison | None


def compare(
    config: ExperimentConfig,
    metric: MetricSpec,
    pair: Pair,
    sums: Sequence[ArmSums],
    stratum: Callable[[ArmSums], StratumKey],
    together: int | None = None,
) -> Compared:
    """Compare an arm with the control.

    :param sums: of both arms, as far as they belong to the comparison.
    :param stratum: what must be equal for the units of a row to be compared with others.
    :param together: how many lines the simultaneous interval holds for; None: those of all metrics that decide.
    """
    try:
        strata, alone = _strata(pair, sums, stratum)
        adjusted = None if metric.covariate is None else adjust_strata(strata)
        rule = config.decision_rule
        figures = compare_strata(
            strata,
            level=Level(rule.alpha, rule.planned_units or TUNED_AT, together or comparisons(config, metric)),
            value_range=value_range(config, metric),
            adjusted=adjusted,
        )
    except DataError as error:
        return Compared(_no_line(pair, error.sentence(None)), None)
    line = of_figures(pair, figures, metric, rule.alpha).line
    known = sum(row.pre.known for row in sums if row.pre is not None)
    adjustment = None if adjusted is None else Adjustment(correlation=adjusted.correlation, units=known)
    more = {"left_out": figures.left_out + alone, "covariate": adjustment}
    return Compared(line.model_copy(update=more), figures)


def _strata(pair: Pair, sums: Sequence[ArmSums], stratum: Callable[[ArmSums], StratumKey]) -> tuple[list[Stratum], int]:
    """The strata that hold both arms, and the number of units in those that hold one."""
    cells: dict[StratumKey, dict[str, list[ArmSums]]] = {}
    for row in sums:
        cells.setdefault(stratum(row), {}).setdefault(row.arm, []).append(row)
    strata = {key: arms for key, arms in cells.items() if len(arms) == 2}
    both = strata.values()
    alone = sum(row.units for arms in cells.values() if len(arms) < 2 for rows in arms.values() for row in rows)
    for name in (pair.control, pair.arm):
        if sum(row.units for arms in both for row in arms[name]) < 2:
            problem = f"arm {name!r} has fewer than two units with settled decisions while both arms got units"
            raise DataError(problem, fix="wait for more")
        if sum(row.units * row.mean_den for arms in both for row in arms[name]) <= 0:
            raise DataError(f"the denominator sums to 0 in arm {name!r}", fix="wait for more")
    return [
        Stratum(_cell(arms[pair.control]), _cell(arms[pair.arm]), key.chance) for key, arms in strata.items()
    ], alone


def of_figures(pair: Pair, figures: StratifiedComparison, metric: MetricSpec, alpha: float) -> Compared:
    """The line of a comparison that was computed."""
    return Compared(_line(pair, figures, metric, alpha), figures)


def no_line(pair: Pair, reason: str) -> Compared:
    """A line without figures, and why."""
    return Compared(_no_line(pair, reason), None)


def _no_line(pair: Pair, reason: str) -> ComparisonLine:
    gone = document_of(missing(reason))
    return ComparisonLine(
        **pair._asdict(),
        difference=None,
        std_error=None,
        p_value=None,
        interval=gone,
        relative_lift=None,
        relative_interval=gone,
        always_valid=AlwaysValid(p_value=None, interval=gone, relative_interval=gone),
        non_inferiority=None,
        chance_to_win=None,
    )


def _line(pair: Pair, figures: StratifiedComparison, metric: MetricSpec, alpha: float) -> ComparisonLine:
    comparison, sequence = figures.comparison, figures.always_valid
    return ComparisonLine(
        **pair._asdict(),
        difference=comparison.difference,
        std_error=comparison.std_error,
        p_value=comparison.p_value,
        interval=document_of(comparison.interval),
        relative_lift=comparison.relative_lift,
        relative_interval=document_of(comparison.relative_interval),
        always_valid=AlwaysValid(
            p_value=sequence.p_value,
            interval=document_of(sequence.interval),
            relative_interval=document_of(sequence.relative_interval),
            simultaneous_interval=document_of(figures.simultaneous),
        ),
        non_inferiority=_non_inferiority(comparison, metric, alpha),
        test=comparison.method,
        chance_to_win=None,
        control_value=comparison.control.value,
        arm_value=comparison.treatment.value,
        units={pair.control: figures.units[0], pair.arm: figures.units[1]},
        effective_units=figures.support.units,
        effective_events=figures.support.events,
    )


def _non_inferiority(comparison: Comparison, metric: MetricSpec, alpha: float) -> NonInferiority | None:
    margin = metric.min_effect * abs(comparison.control.value)
    if metric.role != "guardrail" or margin <= 0 or comparison.std_error is None:
        return None
    better = metric.direction == "increase"
    tested = non_inferiority(comparison.difference, comparison.std_error, margin, alpha=alpha, higher_is_better=better)
    return NonInferiority(margin=margin, p_value=tested.p_value, bound=tested.bound, shown=bool(tested.shown))


def remember(metric: MetricResults, before: StoredResults | None) -> None:
    """Fill in the sequential p-values: each is the smallest of all looks so far, with the difference's sign at that look.

    So a result cannot disagree with an earlier verdict. A metric whose definition or feedback schema changed starts again.
    """
    earlier = [line for old in (before.metrics if before else []) if _same(old, metric) for line in old.comparisons]
    for line in metric.comparisons:
        sign = None if line.difference is None else int(np.sign(line.difference))
        looks = [(line.always_valid.p_value, sign)]
        looks += [
            (old.running_p, old.running_sign) for old in earlier if (old.arm, old.segment) == (line.arm, line.segment)
        ]
        computed = [(p, sign) for p, sign in looks if p is not None]
        line.running_p, line.running_sign = min(computed, key=lambda look: look[0], default=(None, None))


def _same(old: MetricResults, new: MetricResults) -> bool:
    """True when both are the same metric, defined alike."""
    return (old.metric, old.source, old.window_s, old.winsorize, old.feedback_version) == (
        new.metric,
        new.source,
        new.window_s,
        new.winsorize,
        new.feedback_version,
    )


def adjust_all(metrics: Sequence[MetricResults]) -> None:
    """Fill in the adjusted p-values: Holm over the primary metrics' lines; Benjamini-Hochberg over the exploratory ones."""
    methods: tuple[tuple[set[str], Literal["holm", "fdr_bh"]], ...]
    methods = (({"primary"}, "holm"), ({"secondary", "guardrail"}, "fdr_bh"))
    for roles, method in methods:
        lines = [line for metric in metrics if metric.role in roles for line in metric.comparisons]
        one_look = adjust([line.p_value for line in lines], method)
        any_look = adjust([line.running_p for line in lines], method)
        for line, adjusted, running in zip(lines, one_look, any_look, strict=True):
            line.adjusted_p_value, line.adjusted_running_p, line.adjustment = adjusted, running, method


def headline(line: ComparisonLine, method: str) -> Headline:
    """The interval and p-value that lead in a line, for the requested method."""
    if method == "sequential":
        return Headline(interval=line.always_valid.interval, p_value=line.adjusted_running_p)
    if method == "fixed":
        return Headline(interval=line.interval, p_value=line.adjusted_p_value)
    return Headline(chance_to_win=line.chance_to_win)


def summary(results: StoredResults, decision: RuleVerdict) -> ResultsSummary:
    """What the list of experiments shows: the first primary metric's best arm, and what is wrong."""
    primary = results.primary()[0]
    best = primary.best()
    return ResultsSummary(
        metric=primary.name,
        direction=primary.direction,
        arm=best.arm if best else None,
        lift=best.relative_lift if best else None,
        lift_interval=best.always_valid.relative_interval if best else None,
        verdict=decision.verdict,
        ship=decision.arm,
        crossed=decision.crossed,
        sample_ratio=results.sample_ratio.text if results.sample_ratio.alert else None,
        units=sum(results.units.values()),
    )
