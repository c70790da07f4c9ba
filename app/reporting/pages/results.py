"""Shows results: every arm compared with the control on every metric, and whether the numbers can be trusted."""

from typing import NamedTuple

from flask import request, url_for

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.design.pages.experiment import experiment_page
from app.foundation.pages.charts import Figure
from app.foundation.pages.format import interval, number, plural, signed
from app.foundation.serving import process
from app.reporting import activity, findings
from app.reporting.documents.health import (
    Check,
    ChoicesCheck,
    ConcentrationCheck,
    HeavyUnitsCheck,
    ModelCheck,
    SampleRatioCheck,
)
from app.reporting.documents.results import HeldOut, MetricResults, Results
from app.reporting.findings import Findings
from app.reporting.pages import overview_figures, sentences
from app.reporting.pages import result_figures as figures
from app.reporting.pages.shown import definitions, effects, over_time, time_range

ORDER = ("primary", "guardrail", "secondary")
CHECKS = {
    "sample_ratio": "Sample ratio",
    "choices": "Choices match their probabilities",
    "concentration": "How evenly actions are shown",
    "missing_rewards": "Missing rewards",
    "heavy_units": "Units with many decisions",
    "moved_units": "Units that changed their arm",
    "clocks": "Times of reports",
    "model": "Model",
}


@page("/experiments/<key>/results", "viewer")
def results(key: str) -> str:
    """Show the newest results of the worker."""
    method = request.args.get("method", "") or "sequential"
    segment = request.args.get("segment", "") or None
    live = request.args.get("live", "") == "1"
    held_out: HeldOut = "without" if request.args.get("held_out") == "without" else "with"
    newest = findings.get(process().engine, key, method=method, segment=segment, live=live, held_out=held_out)
    return experiment_page(
        "results.html",
        key,
        "results",
        experiment=newest.experiment,
        results=newest.results,
        method=method,
        methods=sentences.METHODS,
        segment=segment,
        live=live,
        health=newest.health,
        checks=[_check(check) for check in newest.health.checks] if newest.health else [],
        shown=_shown(newest, newest.results, method, segment) if newest.results else None,
        so_far=None if newest.results else _so_far(newest),
        ranges=time_range.ranges(newest.looks[0].computed_at, newest.looks[-1].computed_at) if newest.looks else {},
        days=time_range.chosen(),
        helps=definitions.COLUMNS,
        range_address=lambda days: url_for(
            "admin.results", key=key, method=method, segment=segment, live=int(live) or None, days=days or None
        ),
    )


def _so_far(newest: Findings) -> overview_figures.SoFar | None:
    config = ExperimentConfig.model_validate(newest.experiment.config)
    return overview_figures.so_far(activity.get(process().engine, config.key), config)


class ShownMetric(NamedTuple):
    """A metric with its figure and its notes."""

    name: str
    role: str
    figure: Figure
    summary: figures.Table
    notes: list[str]


class Shown(NamedTuple):
    """The results in words, drawings and tables."""

    verdict: sentences.Verdict
    rule: list[str]
    metrics: list[ShownMetric]
    looks: Figure | None
    split: list[Figure]
    split_at: str | None
    ratio: figures.Table
    daily: Figure | None
    over_time: list[str]
    shares_changed: list[str]
    stretches: figures.Table


class ShownCheck(NamedTuple):
    """A health check, ready to be printed."""

    name: str
    of: str
    text: str
    alert: bool
    p_value: float | None  # for any look


def _shown(newest: Findings, results: Results, method: str, segment: str | None) -> Shown:
    config = ExperimentConfig.model_validate(newest.experiment.config)
    split = newest.by_segment
    return Shown(
        verdict=sentences.verdict(results, concluded=newest.experiment.status == "concluded"),
        rule=sentences.rule(config.decision_rule, results.control),
        metrics=metrics(results, method),
        looks=looks(newest, time_range.chosen()),
        split=[figures.segments(metric, method, segment or "") for metric in in_order(split)] if split else [],
        split_at=split.computed_at if split else None,
        ratio=figures.ratio(results.sample_ratio),
        daily=over_time.daily(results),
        over_time=effects.effect_over_time(results),
        shares_changed=effects.shares_changed(results),
        stretches=figures.stretches(results),
    )


def looks(newest: Findings, days: str = "") -> Figure | None:
    """Draw the first primary metric over all looks, or those of the newest days; null before the second look."""
    history = time_range.newest_looks(newest.looks, days)
    return over_time.looks(history) if len(history) > 1 and history[-1].comparisons else None


def in_order(results: Results) -> list[MetricResults]:
    """Primary metrics first, then guardrails, then secondary metrics."""
    return sorted(results.metrics, key=lambda metric: ORDER.index(metric.role))


def metrics(results: Results, method: str) -> list[ShownMetric]:
    """Every metric with its figure and its notes."""
    return [
        ShownMetric(
            name=metric.name,
            role=sentences.ROLES[metric.role],
            figure=figures.metric(metric, method, index),
            summary=figures.summary(metric, method),
            notes=[*_lineages(metric), *sentences.metric_notes(metric)],
        )
        for index, metric in enumerate(in_order(results))
    ]


def _lineages(metric: MetricResults) -> list[str]:
    """Say what a way of learning does that runs several times; each arm's own interval is about its run."""
    return [
        f"{line.lineage}, as a way of learning: {signed(line.difference)} against the control on average over "
        f"{plural(len(line.arms), 'lineage')} ({', '.join(line.arms)}), {interval(line.interval, 'signed')} for one look. The "
        f"lineages differ by a standard deviation of {number(line.spread)}, so the interval holds what another run would do. "
        "Each arm's own interval is about its own run."
        for line in metric.lineages
    ]


def _check(check: Check) -> ShownCheck:
    of = "the experiment"
    if isinstance(check, ChoicesCheck | ConcentrationCheck | HeavyUnitsCheck | ModelCheck):
        of = f"{check.group} {check.name}"
    any_look = check.anytime_p_value if isinstance(check, SampleRatioCheck | ChoicesCheck) else None
    return ShownCheck(CHECKS[check.check], of, check.text, check.alert, any_look)
