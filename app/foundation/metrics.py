"""Prometheus metrics, correct across the processes and roles of a machine (the client library's multiprocess files).

Never labelled by unit, decision or free text. ``docs/operations.md`` lists every name; a test compares the two.
"""

import collections
import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
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
resting = Counter(
    "loopwise_resting_targets", "Decisions whose targets over a window rested, by experiment.", ["experiment"]
)
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
        _observe_all(_of(propensity, experiment), values)


def _observe_all(histogram: Any, values: Sequence[float]) -> None:
    """What ``observe`` does, with one write for each bucket instead of two for each value."""
    histogram._sum.inc(sum(values))
    places = [bisect_left(histogram._upper_bounds, value) for value in values]
    for bucket, count in collections.Counter(places).items():
        histogram._buckets[bucket].inc(count)


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
def count_resting(experiment: str) -> None:
    """One decision whose targets over a window rested."""
    resting.labels(experiment).inc()


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


def render(gauges: Iterable[Metric], *, only: str | None = None) -> bytes:
    """All metrics of this machine's roles in Prometheus' text format; ``gauges`` are those that are read at this moment.

    Each counter has the label ``role``: the counters of a role begin again when it starts, and those of the others do not.

    :param only: leave out the counters of all other roles.
    """
    lines = CollectorRegistry()
    lines.register(_Fixed([*_counted(only), *gauges]))
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return generate_latest(lines)
    return generate_latest(REGISTRY) + generate_latest(lines)


def _counted(only: str | None) -> Iterable[Metric]:
    """The counters of every role, from the folders that stand beside that of this one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return ()
    families: dict[str, Metric] = {}
    for folder in sorted(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).parent.iterdir()):
        if not folder.is_dir() or only not in (None, folder.name):
            continue
        collector = multiprocess.MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]
        for metric in collector.collect():  # type: ignore[no-untyped-call]
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            family.samples += [
                sample._replace(labels={**sample.labels, "role": folder.name}) for sample in metric.samples
            ]
    return families.values()


class _Fixed(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
