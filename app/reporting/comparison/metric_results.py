"""The results of one metric: every arm's value, and every other arm against the control, through changes of the shares."""

from collections.abc import Sequence

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import EventSource, MetricSpec, QuantileSource, RewardSource
from app.design.store import feedback_schemas
from app.reporting.comparison import metric_parts as parts
from app.reporting.comparison import quantile_results, standing
from app.reporting.comparison import result_lines as lines
from app.reporting.comparison import stretches as shares
from app.reporting.comparison.computation import Computation
from app.reporting.comparison.lineages import lineages_lines
from app.reporting.comparison.result_lines import Compared, Pair, StratumKey
from app.reporting.comparison.stretches import Ends, Stretch
from app.reporting.documents.results import ArmValue, MetricResults
from app.reporting.store import metric_sums
from app.reporting.store.metric_sums import ArmSums, EventCounts

WHOLE = "all segments"  # key of the strata that hold every segment


class _Sums:
    """The sums of one metric. Pairs of arms that got units in the same stretches share a query."""

    def __init__(self, computation: Computation, metric: MetricSpec, *, open_too: bool) -> None:
        self.computation, self.metric, self.open_too = computation, metric, open_too
        self._known: dict[Ends, list[ArmSums]] = {}

    def of(self, *arms: str) -> list[ArmSums]:
        """The sums of these arms, over the units that belong to a comparison of them."""
        ends = shares.ends(self.computation.stretches, arms)
        if ends not in self._known:
            self._known[ends] = lines.in_groups(self._read(ends)) if any(ends.by_stretch) else []
        return [row for row in self._known[ends] if row.arm in arms]

    def _read(self, ends: Ends) -> list[ArmSums]:
        computation, metric = self.computation, self.metric
        units, values = parts.units_of(metric)
        covariate, its_values = parts.covariate_of(metric)
        whole = computation.segment is None and covariate is None and len(computation.stretches) == 1
        if units == "reward" and whole and metric.winsorize is None:
            return computation.seen.reward
        if whole and computation.counted is not None and f"kept {units}" in metric_sums.OF_KEPT_SUMS:
            units, values = f"kept {units}", {"counted": computation.counted.isoformat()}
        return metric_sums.arm_sums(
            computation.connection,
            computation.scope(ends),
            units,
            {**values, **its_values},
            covariate=covariate,
            winsorize=metric.winsorize,
            open_too=self.open_too,
        )


def metric_results(computation: Computation, metric: MetricSpec) -> MetricResults:
    """Compute a metric's arms and comparisons."""
    sums = _Sums(computation, metric, open_too=False)
    waiting, events = _open_decisions(computation, metric), _event_counts(computation, metric)
    alone = {arm: sums.of(arm) for arm in computation.arms}
    preliminary = waiting + events.waiting > 0 and not any(alone.values())
    if preliminary:
        sums = _Sums(computation, metric, open_too=True)
        alone = {arm: sums.of(arm) for arm in computation.arms}
    if isinstance(metric.source, QuantileSource) and not preliminary:
        compared = quantile_results.compared(computation, metric, metric.source)
        values = quantile_results.values(computation, metric, metric.source)
    else:
        compared = [pair for arm in _others(computation) for pair in _of_arm(computation, sums, arm, preliminary)]
        values = [] if isinstance(metric.source, QuantileSource) else lines.arm_values(_flat(alone))
    for segment in {pair.line.segment for pair in compared}:
        standing.fill_in_chances([pair for pair in compared if pair.line.segment == segment], metric)
    compared_lines = [pair.line for pair in compared]
    for arm in _others(computation):
        of_arm = [line for line in compared_lines if line.arm == arm]
        standing.fill_in_shrunk(of_arm, computation.config.decision_rule.alpha)
    return MetricResults(
        metric=metric.key,
        name=metric.name or metric.key,
        role=metric.role,
        direction=metric.direction,
        min_effect=metric.min_effect,
        window_s=metric.window_s,
        winsorize=metric.winsorize,
        source=metric.source.model_dump(mode="json"),
        feedback_version=_feedback_version(computation, metric),
        open_decisions=waiting,
        open_units=events.waiting,
        late_events=events.late,
        unreadable_events=events.unreadable,
        preliminary=preliminary,
        arms=[_with_compared(value, compared) for value in values],
        comparisons=sorted(compared_lines, key=lambda line: (line.segment is None, line.segment or "")),
        lineages=lineages_lines(computation.config, compared),
    )


def _flat(by_arm: dict[str, list[ArmSums]]) -> list[ArmSums]:
    return [row for rows in by_arm.values() for row in rows]


def _feedback_version(computation: Computation, metric: MetricSpec) -> int:
    learned = isinstance(metric.source, RewardSource)
    return computation.feedback_version if learned else feedback_schemas.NO_SCHEMA


def _others(computation: Computation) -> list[str]:
    return [arm for arm in computation.arms if arm != computation.config.control.key]


def _every(computation: Computation) -> Ends:
    return Ends(tuple([len(computation.stretches)] * len(computation.stretches)))


def _event_counts(computation: Computation, metric: MetricSpec) -> EventCounts:
    if not isinstance(metric.source, EventSource):
        return EventCounts(0, 0, 0)
    _, values = parts.units_of(metric)
    return metric_sums.event_counts(computation.connection, computation.scope(_every(computation)), values)


def _open_decisions(computation: Computation, metric: MetricSpec) -> int:
    _, values = parts.units_of(metric)
    if isinstance(metric.source, EventSource):
        return 0
    window_s = values.get("window_s")
    if not isinstance(window_s, float | int) or window_s <= computation.config.reward.window_s:
        return 0  # a decision is settled when its reward window is over
    return metric_sums.count_open(computation.connection, computation.scope(_every(computation)), float(window_s))


def _of_arm(computation: Computation, sums: _Sums, arm: str, preliminary: bool) -> list[Compared]:
    """Compare an arm with the control in each segment, and over all."""
    control = computation.config.control.key
    segments: list[str | None] = [None]
    rows = sums.of(arm, control)
    if not any(computation.seen.units.values()):
        return []
    if computation.segment is not None:
        segments = [*dict.fromkeys(row.segment for row in rows), None]
    if preliminary:
        what = "unit" if isinstance(sums.metric.source, EventSource) else "decision"
        reason = f"no {what}'s window of {sums.metric.window_s:g} s is over yet"
        return [lines.no_line(Pair(arm, control, segment), reason) for segment in segments]
    return [
        compare_pair(computation.config, sums.metric, computation.stretches, Pair(arm, control, segment), rows)
        for segment in segments
    ]


def compare_pair(
    config: ExperimentConfig,
    metric: MetricSpec,
    stretches: Sequence[Stretch],
    pair: Pair,
    rows: Sequence[ArmSums],
) -> Compared:
    """Compare an arm with the control through every change of the shares.

    :param rows: the sums of both arms, over the units that belong to a comparison of them.
    """
    arms = (pair.arm, pair.control)
    ends = shares.ends(stretches, arms)
    if not any(ends.by_stretch):
        return lines.no_line(pair, f"no unit was ever assigned while both {pair.arm!r} and {pair.control!r} got units")

    def stratum(row: ArmSums) -> StratumKey:
        chance = shares.chance(stretches, arms, row.stretch, ends.by_stretch[row.stretch])
        return StratumKey(chance, row.segment)

    inside = [row for row in rows if pair.segment is None or row.segment == pair.segment]
    return lines.compare(config, metric, pair, inside, stratum)


def _with_compared(value: ArmValue, compared: Sequence[Compared]) -> ArmValue:
    """The arm's value as it was compared: over changes of shares, its plain mean depends on when it got its units."""
    for line, figures in compared:
        if figures is None or line.segment != value.segment or value.value is None:
            continue
        if value.arm in (line.arm, line.control):
            estimate = figures.comparison.treatment if value.arm == line.arm else figures.comparison.control
            return value.model_copy(update={"value": estimate.value, "std_error": estimate.variance**0.5})
    return value
