"""The full report of an A/B test from unit-level arrays: every metric, every variant against control, with checks.

Adds to `experiments.arms.comparison` what a reader needs at once: CUPED where a covariate is given, Holm's correction over
all metrics and variants, an always-valid interval and p-value beside the fixed-look ones, and the sample ratio check.
Assumes fixed randomisation of units, and one row per unit. This module must never choose metrics, covariates or the
control after seeing results.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.arms.arm_cells import ArmCell, Kind, Stratum
from experiments.arms.arm_sequence import AlwaysValid, Design, Support, always_valid
from experiments.arms.comparison import (
    Comparison,
    arm_moments,
    compare,
    compare_quantiles,
)
from experiments.arms.cuped import CupedResult, cuped
from experiments.arms.group_sequential import Look, bounds, look
from experiments.arms.proportions import compare_proportions
from experiments.arms.strata import Level, compare_strata
from experiments.logs.health import RatioCheck, sample_ratio
from experiments.multiplicity import adjust
from experiments.validation import BoolArray, DataError, FloatArray, IntArray, codes, refuse_first

Pair = tuple[BoolArray, BoolArray]
"""Which rows belong to control, and which to the treatment. Shape (units,) each."""


class Metric(NamedTuple):
    """A metric and its values per unit."""

    name: str
    """Name in the report."""
    kind: Kind
    """mean, proportion (0 or 1 per unit), ratio (sums per unit), quantile, count."""
    numerator: FloatArray
    """Shape (units,)."""
    denominator: FloatArray | None = None
    """Shape (units,), for ratios only."""
    quantile: float | None = None
    """For quantiles only."""
    pre_numerator: FloatArray | None = None
    """Pre-experiment covariate; None without CUPED."""
    pre_denominator: FloatArray | None = None
    """Its denominator, for ratios only."""


class Line(NamedTuple):
    """A metric of a variant against control."""

    metric: str
    """Metric name."""
    kind: Kind
    """Metric type."""
    variant: int
    """Code of the treatment variant."""
    comparison: Comparison | None
    """The headline: adjusted by CUPED when a covariate is given. None with a reason."""
    unadjusted: Comparison | None
    """The comparison without CUPED; None when that is the headline."""
    cuped: CupedResult | None
    """What CUPED did; None without a covariate."""
    adjusted_p: float | None
    """Holm over all lines of the report."""
    always_valid: AlwaysValid | None
    """Interval and p-value that hold at any time; None with a reason."""
    planned_look: Look | None
    """The group-sequential decision at this look; None when no looks are planned, or with a reason."""
    reason: str
    """Why something above is None."""


class ABReport(NamedTuple):
    """The whole table."""

    units: int
    """Rows."""
    control: int
    """Code of the control variant."""
    counts: tuple[int, ...]
    """Units per variant code."""
    sample_ratio: RatioCheck
    """When it alerts, no line below may be believed."""
    lines: tuple[Line, ...]
    """Metric by metric, variants in order of their codes."""
    alpha: float
    """1 - confidence level."""


def compare_variants(
    variant: IntArray,
    variants: int,
    control: int,
    metrics: list[Metric],
    *,
    shares: list[float] | None = None,
    looks: tuple[float, ...] = (),
    alpha: float = 0.05,
) -> ABReport:
    """Report over variant codes 0..variants-1, shape (units,). `shares` are intended ones in code order; None is equal.

    `looks` are the information fractions of the planned looks so far, up to now; see `experiments.arms.group_sequential`.
    Raises `DataError` for fewer than two variants, for looks that do not ascend, and for values that a metric type does
    not allow, with the row.
    """
    if variants < 2:
        raise DataError("there is only one variant", fix="a comparison needs at least two")
    variant = codes("variant", variant, variants)
    counts = np.bincount(variant, minlength=variants)
    for metric in metrics:
        _check(metric)
    if looks:
        bounds(looks, alpha)
    ratio = sample_ratio(counts, shares if shares is not None else [1.0] * variants)
    lines = [
        _line(metric, (variant == control, variant == treatment), treatment, looks, alpha)
        for metric in metrics
        for treatment in range(variants)
        if treatment != control
    ]
    raw = [None if line.comparison is None else line.comparison.p_value for line in lines]
    done = [line._replace(adjusted_p=p) for line, p in zip(lines, adjust(raw, "holm"), strict=True)]
    return ABReport(len(variant), control, tuple(int(n) for n in counts), ratio, tuple(done), alpha)


def _check(metric: Metric) -> None:
    values = metric.numerator
    if metric.kind == "proportion":
        fix = "a proportion counts units with 0 or 1; use a mean for anything else"
        refuse_first((values != 0) & (values != 1), values, f"{metric.name} is {{value}}", fix)
    if metric.kind == "count":
        bad = (values < 0) | (values != np.floor(values))
        refuse_first(bad, values, f"{metric.name} is {{value}}", "a count is a whole number, 0 or larger")
    if metric.kind == "ratio" and metric.denominator is not None:
        fix = "denominators are counts or times, 0 or larger"
        refuse_first(metric.denominator < 0, metric.denominator, f"the denominator of {metric.name} is {{value}}", fix)


def _line(metric: Metric, rows: Pair, treatment: int, looks: tuple[float, ...], alpha: float) -> Line:
    sizes = [int(r.sum()) for r in rows]
    empty = Line(metric.name, metric.kind, treatment, None, None, None, None, None, None, "")
    if min(sizes) < 2:
        return empty._replace(reason="an arm has fewer than two units: wait for more, or drop the variant")
    try:
        plain = _plain(metric, rows, alpha)
        adjusted = _cuped(metric, rows, alpha)
    except DataError as error:
        # A metric that cannot be computed must not hide the others.
        return empty._replace(reason=error.sentence(None))
    headline = plain if adjusted is None else adjusted.comparison
    sequence = _sequence(metric, rows, headline, alpha)
    reason = sequence.interval.reason
    sequential = None if reason else sequence
    unadjusted = None if adjusted is None else plain
    planned = None
    if looks and headline.std_error is not None:
        planned = look(headline.difference, headline.std_error, looks, alpha=alpha)
    return Line(metric.name, metric.kind, treatment, headline, unadjusted, adjusted, None, sequential, planned, reason)


def _plain(metric: Metric, rows: Pair, alpha: float) -> Comparison:
    arms = [metric.numerator[r] for r in rows]
    if metric.kind == "quantile":
        return compare_quantiles(arms[0], arms[1], metric.quantile or 0.5, alpha=alpha)
    if metric.kind == "proportion":
        return compare_proportions(int(arms[0].sum()), len(arms[0]), int(arms[1].sum()), len(arms[1]), alpha=alpha)
    moments = [arm_moments(metric.numerator[r], _take(metric.denominator, r)) for r in rows]
    return compare(moments[0], moments[1], alpha=alpha)


def _cuped(metric: Metric, rows: Pair, alpha: float) -> CupedResult | None:
    if metric.pre_numerator is None or metric.kind == "quantile":
        return None
    moments = [
        arm_moments(
            metric.numerator[r],
            _take(metric.denominator, r),
            metric.pre_numerator[r],
            _take(metric.pre_denominator, r),
        )
        for r in rows
    ]
    return cuped(moments[0], moments[1], alpha=alpha)


def _take(values: FloatArray | None, rows: BoolArray) -> FloatArray | None:
    return None if values is None else values[rows]


def _sequence(metric: Metric, rows: Pair, headline: Comparison, alpha: float) -> AlwaysValid:
    """What holds at every look: with variances that are at least those of both arms together."""
    units = sum(int(r.sum()) for r in rows)
    ends = (headline.control, headline.treatment)
    if metric.kind == "quantile":
        fewest, beyond = min(arm.n for arm in ends), min(metric.quantile or 0.5, 1 - (metric.quantile or 0.5))
        support = Support(float(fewest), fewest * beyond)
        return always_valid(headline, (ends[0].variance, ends[1].variance), support, Design(units), alpha=alpha)
    cells = [_cell(metric, r) for r in rows]
    bounds = (0.0, 1.0) if metric.kind == "proportion" else None
    plain = compare_strata([Stratum(cells[0], cells[1])], level=Level(alpha), value_range=bounds)
    own = (plain.comparison.control, plain.comparison.treatment)
    # CUPED shrinks an arm's variance and the pooled one alike, so that their ratio is the same.
    control, treatment = (
        arm.variance * larger / unadjusted.variance if unadjusted.variance > 0 else larger
        for arm, larger, unadjusted in zip(ends, plain.variances, own, strict=True)
    )
    return always_valid(headline, (control, treatment), plain.support, Design(units), alpha=alpha)


def _cell(metric: Metric, rows: BoolArray) -> ArmCell:
    values = metric.numerator[rows]
    return ArmCell(arm_moments(values, _take(metric.denominator, rows)), float(np.abs(values).mean()))
