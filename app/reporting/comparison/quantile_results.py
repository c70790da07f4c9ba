"""Compares arms by a quantile over units, such as the median. It is not combined over changes of the shares."""

from collections.abc import Sequence
from functools import partial

from scipy.stats import norm

from app.design.metric_config import MetricSpec, QuantileSource
from app.reporting.comparison import metric_parts as parts
from app.reporting.comparison import result_lines as lines
from app.reporting.comparison import stretches as shares
from app.reporting.comparison.computation import Computation
from app.reporting.comparison.result_lines import Compared, Pair
from app.reporting.comparison.stretches import Ends
from app.reporting.documents.results import ArmValue
from app.reporting.store import quantiles
from app.reporting.store.quantiles import ArmQuantile
from experiments.arms.arm_sequence import TUNED_AT, Design, Support, always_valid
from experiments.arms.comparison import ArmEstimate, compare_quantile_estimates, woodruff
from experiments.arms.strata import StratifiedComparison


def compared(computation: Computation, metric: MetricSpec, source: QuantileSource) -> list[Compared]:
    """Every other arm against the control, in each segment or over all."""
    control = computation.config.control.key
    compared: list[Compared] = []
    for arm in (arm for arm in computation.arms if arm != control):
        ends = shares.ends(computation.stretches, (arm, control))
        chances = {
            shares.chance(computation.stretches, (arm, control), index, end)
            for index, end in enumerate(ends.by_stretch)
            if end
        }
        if len(chances) != 1:
            reason = (
                "a quantile is not combined over changes of the arms' shares: use a mean, or start a new experiment"
            )
            compared.append(lines.no_line(Pair(arm, control, None), reason))
            continue
        rows = {(row.arm, row.segment): row for row in _rows(computation, metric, source, ends)}
        for segment in dict.fromkeys(segment for _, segment in rows):
            pair = Pair(arm, control, segment)
            compared.append(
                _compared(computation, metric, source, pair, rows.get((control, segment)), rows.get((arm, segment)))
            )
    return compared


def values(computation: Computation, metric: MetricSpec, source: QuantileSource) -> list[ArmValue]:
    """The quantile of each arm over its own units."""
    shown: list[ArmValue] = []
    for arm in computation.arms:
        ends = shares.ends(computation.stretches, (arm,))
        rows = _rows(computation, metric, source, ends) if any(ends.by_stretch) else []
        shown += [_value(row, source) for row in rows if row.arm == arm]
    return shown


def _rows(computation: Computation, metric: MetricSpec, source: QuantileSource, ends: Ends) -> Sequence[ArmQuantile]:
    _, given = parts.units_of(metric)
    z = float(norm.isf(0.025))
    return quantiles.arm_quantiles(computation.connection, computation.scope(ends), given, source.quantile, z)


def _value(row: ArmQuantile, source: QuantileSource) -> ArmValue:
    described = partial(ArmValue, arm=row.arm, segment=row.segment, units=row.units, decisions=row.decisions)
    if row.units < 2:
        return described(value=row.value, std_error=None)
    return described(value=row.value, std_error=_estimate(row, source).variance ** 0.5)


def _estimate(row: ArmQuantile, source: QuantileSource) -> ArmEstimate:
    return woodruff(source.quantile, (row.value, row.low, row.high), row.units)


def _compared(
    computation: Computation,
    metric: MetricSpec,
    source: QuantileSource,
    pair: Pair,
    control: ArmQuantile | None,
    treatment: ArmQuantile | None,
) -> Compared:
    if control is None or treatment is None or min(control.units, treatment.units) < 2:
        return lines.no_line(pair, "an arm has fewer than two units whose window is over: wait for more")
    rule = computation.config.decision_rule
    ends = (_estimate(control, source), _estimate(treatment, source))
    comparison = compare_quantile_estimates(ends[0], ends[1], source.quantile, alpha=rule.alpha)
    fewest = float(min(control.units, treatment.units))
    support = Support(fewest, fewest * min(source.quantile, 1 - source.quantile))
    design = Design(control.units + treatment.units, rule.planned_units or TUNED_AT)
    variances = (ends[0].variance, ends[1].variance)
    level = rule.alpha / parts.comparisons(computation.config, metric)
    figures = StratifiedComparison(
        comparison,
        always_valid(comparison, variances, support, design, alpha=rule.alpha),
        always_valid(comparison, variances, support, design, alpha=level).interval,
        support,
        variances,
        (control.units, treatment.units),
        0,
    )
    return lines.of_figures(pair, figures, metric, rule.alpha)
