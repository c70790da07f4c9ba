"""The effect on each day: does it fade as it gets old, or grow as people learn to use it?"""

from collections.abc import Sequence

from app.design.metric_config import EventSource, MetricSpec, QuantileSource
from app.foundation.formats.intervals import document_of
from app.reporting.comparison import metric_parts as parts
from app.reporting.comparison import result_lines as lines
from app.reporting.comparison import stretches as shares
from app.reporting.comparison.computation import Computation
from app.reporting.comparison.result_lines import Pair, StratumKey
from app.reporting.comparison.stretches import Ends
from app.reporting.documents.results import DailyEffect, DailyEffects
from app.reporting.store import metric_sums
from app.reporting.store.metric_sums import ArmSums
from experiments.arms.novelty import days_since_first, trend

MOST_DAYS = 400  # the newest


def daily_effects(computation: Computation, metric: MetricSpec) -> list[DailyEffects]:
    """Every other arm against the control on each day of decisions (UTC), for one look, and how the effect changes."""
    plain = metric.model_copy(update={"covariate": None})
    units, values = parts.units_of(plain)
    if units in ("sessions", "retention") or isinstance(metric.source, QuantileSource | EventSource):
        return []  # of a unit over days, not of a day
    control = computation.config.control.key
    by_ends: dict[Ends, list[ArmSums]] = {}
    effects = []
    for arm in (arm for arm in computation.arms if arm != control):
        ends = shares.ends(computation.stretches, (arm, control))
        if not any(ends.by_stretch):
            continue
        if ends not in by_ends:
            scope = computation.scope(ends)._replace(by_day=True)
            by_ends[ends] = metric_sums.arm_sums(
                computation.connection, scope, units, values, winsorize=metric.winsorize
            )
        effects.append(_of_arm(computation, plain, arm, [row for row in by_ends[ends] if row.arm in (arm, control)]))
    return effects


def _of_arm(computation: Computation, metric: MetricSpec, arm: str, rows: Sequence[ArmSums]) -> DailyEffects:
    control = computation.config.control.key
    ends = shares.ends(computation.stretches, (arm, control))

    def stratum(row: ArmSums) -> StratumKey:
        chance = shares.chance(computation.stretches, (arm, control), row.stretch, ends.by_stretch[row.stretch])
        return StratumKey(chance, row.segment)

    days: list[DailyEffect] = []
    for day in sorted({row.segment or "" for row in rows})[-MOST_DAYS:]:
        of_day = [row for row in rows if row.segment == day]
        line = lines.compare(computation.config, metric, Pair(arm, control, day), of_day, stratum).line
        days.append(DailyEffect(day=day, difference=line.difference, std_error=line.std_error, interval=line.interval))
    known = [(day.day, day.difference, day.std_error) for day in days if day.difference is not None and day.std_error]
    alpha = computation.config.decision_rule.alpha
    names, differences, errors = zip(*known, strict=True) if known else ((), (), ())
    change = trend(days_since_first([*names]), differences, errors, alpha=alpha) if known else None
    return DailyEffects(
        arm=arm,
        control=control,
        days=days,
        change_per_day=change.slope if change else None,
        change_interval=document_of(change.interval) if change else None,
    )
