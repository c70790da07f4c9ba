"""What a metric needs: sums and parameters of the database, its range, and with how many others it is judged."""

from collections.abc import Mapping

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import (
    ContextCovariate,
    EventSource,
    HistoryCovariate,
    MetricSpec,
    QuantileSource,
    RatioSource,
    RetentionSource,
    RewardSource,
    SessionsSource,
)
from app.reporting.store.metric_sums import Values


def units_of(metric: MetricSpec) -> tuple[str, Values]:
    """Which sums a metric needs (a key of ``app.reporting.store.metric_sums.UNITS``), and their parameters."""
    source = metric.source
    if isinstance(source, RetentionSource):
        return "retention", {"after_s": source.days * 86_400, "until_s": source.end_days * 86_400}
    if isinstance(source, SessionsSource):
        return "sessions", {"gap_s": source.gap_s}
    if isinstance(source, EventSource):
        path = None if source.field is None else source.field.split(".")
        given = {"event": source.event, "path": path, "window_s": metric.window_s, "late_s": source.late_s}
        return f"event/{source.value}", given
    if isinstance(source, RewardSource):
        return ("reward" if source.per == "decision" else "reward/unit"), {}
    if isinstance(source, QuantileSource):
        return "value/unit", {"numerator": source.metric, "denominator": source.metric, "window_s": metric.window_s}
    if isinstance(source, RatioSource):
        return "ratio", {
            "numerator": source.numerator,
            "denominator": source.denominator,
            "window_s": metric.window_s,
        }
    reported = {"numerator": source.metric, "denominator": source.metric, "window_s": metric.window_s}
    return f"{source.type}/{source.per}", reported


def covariate_of(metric: MetricSpec) -> tuple[str | None, Mapping[str, str | float | None]]:
    """Which covariate a metric has (a key of ``app.reporting.store.metric_sums.COVARIATES``), and its parameters."""
    if isinstance(metric.covariate, ContextCovariate):
        return "context", {"field": metric.covariate.field}
    if isinstance(metric.covariate, HistoryCovariate):
        return "history", {"history_s": metric.covariate.days * 86_400}
    return None, {}


def value_range(config: ExperimentConfig, metric: MetricSpec) -> tuple[float, float] | None:
    """The range of a metric's single values where it is known."""
    if isinstance(metric.source, RewardSource):
        return config.reward.min, config.reward.max
    happened = isinstance(metric.source, EventSource) and metric.source.value == "happened"
    return (0.0, 1.0) if happened or isinstance(metric.source, RetentionSource) else None


def comparisons(config: ExperimentConfig, metric: MetricSpec) -> int:
    """How many lines are judged together with a metric's: those of all metrics that decide."""
    deciding = [each for each in config.all_metrics() if each.role == "primary"]
    return max(1, len(deciding) * (len(config.arms) - 1)) if metric.role == "primary" else 1
