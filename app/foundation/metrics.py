"""Prometheus metrics, correct across the processes of a role (the client library's multiprocess files).

Never labelled by unit, decision or free text. ``docs/operations.md`` lists every name; a test compares the two.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, Metric, generate_latest, multiprocess
from prometheus_client.registry import Collector

from app.foundation.running import metric_files
from app.foundation.running.metric_files import counting

metric_files.install()
decisions = Counter("loopwise_decisions", "Decisions stored.", ["experiment", "arm"])
rewards = Counter("loopwise_rewards", "Rewards stored, by whether they came within the window.", ["experiment", "late"])
feedback = Counter("loopwise_feedback", "Explicit answers stored.", ["experiment", "kind"])
events = Counter(
    "loopwise_events", "Events stored, by whether their time keeps them from firing anything.", ["ignored"]
)
dropped = Counter("loopwise_context_fields_dropped", "Context fields that nobody declared.", ["experiment"])
requests = Counter("loopwise_http_requests", "Requests answered.", ["endpoint", "status"])
latency = Histogram(
    "loopwise_request_seconds",
    "Time to answer, in seconds.",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
batch_rows = Histogram(
    "loopwise_commit_rows", "Log rows per commit.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)
failures = Counter("loopwise_experiment_failures", "Times that the worker failed at an experiment's figures.", ["kind"])
fallbacks = Counter("loopwise_fallbacks", "Times that a model could not be put into service.", ["reason"])
propensity = Histogram(
    "loopwise_propensity",
    "Propensities of chosen actions.",
    ["experiment"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1),
)


@lru_cache(maxsize=4096)
def _of(metric: Any, *labels: str) -> Any:
    """One labelled line of a metric, cached because the library checks and locks at each look-up."""
    return metric.labels(*labels)


@counting
def count_decisions(chances: Mapping[tuple[str, str], Sequence[float]]) -> None:
    """Stored decisions: the propensities of each experiment and arm."""
    for (experiment, arm), values in chances.items():
        _of(decisions, experiment, arm).inc(len(values))
        observe = _of(propensity, experiment).observe
        for value in values:
            observe(value)


@counting
def count_dropped(experiment: str, fields: int) -> None:
    """Context fields of one decision that were not declared, and not stored."""
    _of(dropped, experiment).inc(fields)


@counting
def count_reward(experiment: str, late: bool) -> None:
    """One stored reward."""
    _of(rewards, experiment, str(late).lower()).inc()


@counting
def count_feedback(experiment: str, kind: str) -> None:
    """One stored answer."""
    _of(feedback, experiment, kind).inc()


@counting
def count_events(taken: int, ignored: int) -> None:
    """Stored events."""
    _of(events, "false").inc(taken - ignored)
    _of(events, "true").inc(ignored)


@counting
def count_failure(kind: str) -> None:
    """One experiment whose figures could not be computed."""
    failures.labels(kind).inc()


@counting
def count_fallback(reason: str) -> None:
    """A model that was not put into service."""
    fallbacks.labels(reason).inc()


@counting
def observe_request(endpoint: str, status: int, seconds: float) -> None:
    """One answered request."""
    _of(requests, endpoint, str(status)).inc()
    _of(latency, endpoint).observe(seconds)


@counting
def count_refused(endpoint: str, calls: int) -> None:
    """Requests that were refused at once (503)."""
    _of(requests, endpoint, "503").inc(calls)


@counting
def observe_batch(rows: int) -> None:
    """One commit of the log's writer."""
    batch_rows.observe(rows)


def render(gauges: Iterable[Metric]) -> bytes:
    """All metrics of this role in Prometheus' text format; ``gauges`` are those that are read at this moment."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry = REGISTRY
    lines = CollectorRegistry()
    lines.register(_Fixed(list(gauges)))
    return generate_latest(registry) + generate_latest(lines)


class _Fixed(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
