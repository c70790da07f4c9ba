"""Makes the lines of a results table from sums over units: one arm compared with the control on one metric.

``experiments`` computes estimates, tests and intervals; this module puts them into the lines of a document.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import norm

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import MetricSpec, RatioSource, RetentionSource, RewardSource, SessionsSource
from app.foundation.formats.intervals import IntervalDocument, document_of
from app.reporting.documents.results import (
    AlwaysValid,
    ArmValue,
    ChanceToWin,
    ComparisonLine,
    Headline,
    MetricResults,
    NonInferiority,
    StoredResults,
)
from app.reporting.store.results import ArmSums
from experiments import bayes
from experiments.comparison import ArmEstimate, Comparison, arm_estimate, compare, relative_lift
from experiments.cuped import post_stratified
from experiments.multiplicity import adjust
from experiments.non_inferiority import non_inferiority
from experiments.results import missing
from experiments.sequences import mixture_tau, mixture_test
from experiments.sums import Moments
from experiments.validation import DataError

MIN_UNITS_SEQUENTIAL = 100
MAX_SEGMENTS = 20


def units_of(metric: MetricSpec) -> tuple[str, Mapping[str, str | float | None]]:
    """Which sums a metric needs (a key of ``app.reporting.store.results.UNITS``), and their parameters."""
    source = metric.source
    if isinstance(source, RetentionSource):
        return "retention", {"after_s": source.days * 86_400}
    if isinstance(source, SessionsSource):
        return "sessions", {"gap_s": source.gap_s}
    if isinstance(source, RewardSource):
        return "reward", {}
    if isinstance(source, RatioSource):
        return "ratio", {
            "numerator": source.numerator,
            "denominator": source.denominator,
            "window_s": metric.window_s,
        }
    reported = {"numerator": source.metric, "denominator": source.metric, "window_s": metric.window_s}
    return f"{source.type}/{source.per}", reported


def groups(sums: list[ArmSums]) -> dict[str | None, dict[str, ArmSums]]:
    """Group sums by segment and arm; keeps the ``MAX_SEGMENTS`` segments with the most units."""
    sizes: dict[str | None, int] = {}
    for row in sums:
        sizes[row.segment] = sizes.get(row.segment, 0) + row.units
    largest = sorted(sizes, key=lambda name: -sizes[name])[:MAX_SEGMENTS]
    return {name: {row.arm: row for row in sums if row.segment == name} for name in largest}


def moments(row: ArmSums) -> Moments:
    """The sums of one arm as ``experiments`` takes them: numerator and denominator per unit."""
    second = np.array([[row.var_num, row.cov], [row.cov, row.var_den]]) * row.units
    return Moments(row.units, np.array([row.mean_num, row.mean_den]), second)


def arm_value(row: ArmSums) -> ArmValue:
    """An arm's value with its standard error."""
    described = partial(ArmValue, arm=row.arm, segment=row.segment, units=row.units, decisions=row.decisions)
    if row.mean_den <= 0:
        return described(value=None, std_error=None, reason="the denominator sums to 0")
    estimate = arm_estimate(moments(row))
    return described(value=estimate.value, std_error=float(np.sqrt(estimate.variance)) if row.units > 1 else None)


def comparisons(
    config: ExperimentConfig, metric: MetricSpec, arms: Mapping[str, ArmSums], segment: str | None
) -> list[ComparisonLine]:
    """Compare every other arm with the control, in one segment or over all."""
    control = config.control.key
    chances = _chances(arms, metric)
    lines = []
    for arm in (arm.key for arm in config.arms if arm.key != control):
        pair = Pair(arm, control, segment)
        reason = _why_not(arms, control, arm)
        if reason:
            lines.append(_no_line(pair, reason))
            continue
        comparison = compare(moments(arms[control]), moments(arms[arm]), alpha=config.decision_rule.alpha)
        units = (arms[control].units, arms[arm].units)
        lines.append(_line(pair, comparison, metric, config.decision_rule.alpha, units, chances.get(arm)))
    return lines


class Pair(NamedTuple):
    """The two arms of a comparison, and its segment."""

    arm: str
    control: str
    segment: str | None


def _why_not(arms: Mapping[str, ArmSums], control: str, arm: str) -> str:
    for name in (control, arm):
        if name not in arms or arms[name].units < 2:
            return f"arm {name!r} has fewer than two units with settled decisions; wait for more"
        if arms[name].mean_den <= 0:
            return f"the denominator sums to 0 in arm {name!r}"
    return ""


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
        always_valid=_no_sequence(gone),
        non_inferiority=None,
        chance_to_win=None,
    )


def _line(
    pair: Pair,
    comparison: Comparison,
    metric: MetricSpec,
    alpha: float,
    units: tuple[int, int],
    chance: ChanceToWin | None,
) -> ComparisonLine:
    return ComparisonLine(
        **pair._asdict(),
        difference=comparison.difference,
        std_error=comparison.std_error,
        p_value=comparison.p_value,
        interval=document_of(comparison.interval),
        relative_lift=comparison.relative_lift,
        relative_interval=document_of(comparison.relative_interval),
        always_valid=_always_valid(comparison, units, alpha),
        non_inferiority=_non_inferiority(comparison, metric, alpha),
        test=comparison.method,
        chance_to_win=chance,
    )


def _no_sequence(why: IntervalDocument) -> AlwaysValid:
    return AlwaysValid(p_value=None, interval=why, relative_interval=why)


def _always_valid(comparison: Comparison, units: tuple[int, int], alpha: float) -> AlwaysValid:
    if comparison.std_error is None:
        return _no_sequence(document_of(comparison.interval))
    if min(units) < MIN_UNITS_SEQUENTIAL:
        reason = f"opens at {MIN_UNITS_SEQUENTIAL} units per arm, now {min(units)}"
        return _no_sequence(document_of(missing(reason)))
    tau = mixture_tau(comparison.std_error, sum(units), alpha=alpha)
    tested = mixture_test(comparison.difference, comparison.std_error, tau, alpha)
    # In standard errors, the sequence is equally wide for every contrast with the same units. So the relative lift's
    # always-valid interval is its one-look interval at the level that gives this width.
    errors = (tested.interval.high - comparison.difference) / comparison.std_error  # type: ignore[operator]
    _, relative = relative_lift(comparison.control, comparison.treatment, alpha=2 * float(norm.sf(errors)))
    return AlwaysValid(
        p_value=tested.p_value, interval=document_of(tested.interval), relative_interval=document_of(relative)
    )


def _non_inferiority(comparison: Comparison, metric: MetricSpec, alpha: float) -> NonInferiority | None:
    margin = metric.min_effect * abs(comparison.control.value)
    if metric.role != "guardrail" or margin <= 0 or comparison.std_error is None:
        return None
    better = metric.direction == "increase"
    tested = non_inferiority(comparison.difference, comparison.std_error, margin, alpha=alpha, higher_is_better=better)
    return NonInferiority(margin=margin, p_value=tested.p_value, bound=tested.bound, shown=bool(tested.shown))


def _chances(arms: Mapping[str, ArmSums], metric: MetricSpec) -> dict[str, ChanceToWin]:
    """Chance to be the best of all arms and expected loss, with a flat prior."""
    usable = {name: _usable(row) for name, row in arms.items()}
    estimates = {name: estimate for name, estimate in usable.items() if estimate is not None}
    if len(estimates) < 2:
        return {}
    values = [estimate.value for estimate in estimates.values()]
    errors = [float(np.sqrt(estimate.variance)) for estimate in estimates.values()]
    standing = bayes.chances(values, errors, higher_is_better=metric.direction == "increase")
    return {
        name: ChanceToWin(probability=arm.chance_to_win, expected_loss=arm.expected_loss)
        for name, arm in zip(estimates, standing, strict=True)
    }


def _usable(row: ArmSums) -> ArmEstimate | None:
    if row.units < 2 or row.mean_den <= 0:
        return None
    estimate = arm_estimate(moments(row))
    return estimate if estimate.variance > 0 else None


def stratified(
    config: ExperimentConfig, metric: MetricSpec, groups: Mapping[str | None, dict[str, ArmSums]]
) -> list[ComparisonLine]:
    """Compare arms over all segments together, with both arms weighted to the same shares of segments."""
    control = config.control.key
    lines = []
    for arm in (arm.key for arm in config.arms if arm.key != control):
        both = [rows for rows in groups.values() if not _why_not(rows, control, arm)]
        pair = Pair(arm, control, None)
        try:
            pairs = [moments(rows[control]) for rows in both], [moments(rows[arm]) for rows in both]
            comparison = post_stratified(*pairs, alpha=config.decision_rule.alpha)
        except DataError as error:
            lines.append(_no_line(pair, error.sentence(None)))
            continue
        units = (sum(rows[control].units for rows in both), sum(rows[arm].units for rows in both))
        lines.append(_line(pair, comparison, metric, config.decision_rule.alpha, units, None))
    return lines


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
