"""What the experiment shows: every arm against control on every metric, and how far the numbers can be trusted."""

from typing import NamedTuple

from flask import request

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.design.pages.experiment import experiment_page
from app.foundation.pages.charts import Figure
from app.foundation.serving import process
from app.reporting import findings
from app.reporting.documents.health import Check, ChoicesCheck, MissingRewardsCheck, SampleRatioCheck
from app.reporting.documents.results import MetricResults, Results
from app.reporting.findings import Findings
from app.reporting.pages import result_figures as figures
from app.reporting.pages import sentences

ORDER = ("primary", "guardrail", "secondary")
CHECKS = {
    "sample_ratio": "Units against shares",
    "choices": "Choices against their probabilities",
    "concentration": "How evenly actions are shown",
    "missing_rewards": "Missing rewards",
    "model": "Model",
}


@page("/experiments/<key>/results", "viewer")
def results(key: str) -> str:
    """Results as the worker computed them last."""
    method = request.args.get("method", "") or "sequential"
    segment = request.args.get("segment", "") or None
    found = findings.get(process().engine, key, method=method, segment=segment)
    return experiment_page(
        "results.html",
        key,
        "results",
        experiment=found.experiment,
        found=found.results,
        method=method,
        methods=sentences.METHODS,
        segment=segment,
        health=found.health,
        checks=[_check(check) for check in found.health.checks] if found.health else [],
        shown=_shown(found, found.results, method, segment) if found.results else None,
    )


class ShownMetric(NamedTuple):
    """A metric with its figure and what has to be said about it."""

    name: str
    role: str
    figure: Figure
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


class ShownCheck(NamedTuple):
    """A health check, ready to be printed."""

    name: str
    of: str
    text: str
    alert: bool
    p_value: float | None  # for any look


def _shown(found: Findings, results: Results, method: str, segment: str | None) -> Shown:
    config = ExperimentConfig.model_validate(found.experiment.config)
    split = found.by_segment
    return Shown(
        verdict=sentences.verdict(results),
        rule=sentences.rule(config.decision_rule, results.control),
        metrics=metrics(results, method),
        looks=looks(found),
        split=[figures.segments(metric, method, segment or "") for metric in in_order(split)] if split else [],
        split_at=split.computed_at if split else None,
        ratio=figures.ratio(results.sample_ratio),
    )


def looks(found: Findings) -> Figure | None:
    """How the first primary metric became known; null before the second look."""
    return figures.looks(found.looks) if len(found.looks) > 1 and found.looks[-1].comparisons else None


def in_order(results: Results) -> list[MetricResults]:
    """What decides first, then the guardrails, then the rest."""
    return sorted(results.metrics, key=lambda metric: ORDER.index(metric.role))


def metrics(results: Results, method: str) -> list[ShownMetric]:
    """Every metric with its figure and what has to be said about it."""
    return [
        ShownMetric(
            name=metric.name,
            role=sentences.ROLES[metric.role],
            figure=figures.metric(metric, method, index),
            notes=sentences.metric_notes(metric),
        )
        for index, metric in enumerate(in_order(results))
    ]


def _check(check: Check) -> ShownCheck:
    of = (
        "the experiment" if isinstance(check, SampleRatioCheck | MissingRewardsCheck) else f"{check.group} {check.name}"
    )
    any_look = check.anytime_p_value if isinstance(check, SampleRatioCheck | ChoicesCheck) else None
    return ShownCheck(CHECKS[check.check], of, check.text, check.alert, any_look)
