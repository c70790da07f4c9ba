"""Makes the report to send: one self-contained HTML file with what ran, what it shows and what is assumed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from flask import Response, render_template, request
from pydantic import JsonValue

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.charts import Figure
from app.foundation.pages.format import duration, interval, number, percent
from app.foundation.serving import process
from app.foundation.words import as_sentence
from app.off_policy.documents import EvaluationAnswer, PolicyLine
from app.off_policy.pages import evaluation_words
from app.reporting import findings
from app.reporting.documents.results import Results
from app.reporting.findings import Whole
from app.reporting.pages import overview_figures, result_figures, sentences
from app.reporting.pages.results import ShownMetric, in_order, looks, metrics
from app.reporting.pages.shown import definitions
from app.reporting.pages.whom import drawn
from bandits.policy import BanditPolicy, FirstActionPolicy, FixedPolicy, parse_policy

CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@page("/experiments/<key>/report", "viewer")
def report(key: str) -> Response:
    """Serve the report as a download; with ``show``, in the browser."""
    contents = findings.whole(process().engine, key)
    now = datetime.now(UTC)
    config = ExperimentConfig.model_validate(contents.findings.experiment.config)
    text = render_template(
        "report.html",
        key=key,
        experiment=contents.findings.experiment,
        config=config,
        now=now,
        version=_version(),
        policy_rows=_arms(config),
        reward=_reward(config),
        results=contents.findings.results,
        shown=_shown(contents, contents.findings.results, config) if contents.findings.results else None,
        activity=contents.activity,
        rates=overview_figures.rates(contents.activity, config)
        if contents.activity and contents.activity.decisions
        else None,
        learning=[(arm.arm, sentences.learning(arm)) for arm in contents.activity.learning]
        if contents.activity
        else [],
        evaluation=_evaluation(contents.evaluation) if contents.evaluation else None,
        whom=contents.whom if contents.whom.computed_at else None,
        drawn_whom=drawn(contents.whom),
        notes=contents.notes,
        definitions=definitions.TERMS,
    )
    response = Response(text, mimetype="text/html")
    response.headers["Content-Security-Policy"] = CSP
    if "show" not in request.args:
        response.headers["Content-Disposition"] = f'attachment; filename="{key}-report-{now:%Y-%m-%d}.html"'
    return response


def _version() -> str:
    try:
        return version("loopwise")
    except PackageNotFoundError:  # started from a checkout
        return "(from source)"


def _arms(config: ExperimentConfig) -> list[list[str]]:
    control = config.control.key
    return [
        [f"{arm.key} (control)" if arm.key == control else arm.key, percent(arm.share), _chooses(arm.policy)]
        for arm in config.arms
    ]


class ShownEvaluation(NamedTuple):
    """An off-policy evaluation, ready to be printed."""

    window: str
    estimand: str
    finished_at: str | None
    rows: list[list[str]]
    search: str
    assumptions: list[str]


def _evaluation(evaluation: EvaluationAnswer) -> ShownEvaluation | None:
    result = evaluation.result
    if result is None:
        return None
    return ShownEvaluation(
        window=evaluation_words.window(result),
        estimand=evaluation_words.estimand(result),
        finished_at=evaluation.finished_at,
        rows=[_policy(line) for line in result.policies] if result.out_of_sample else [],
        search=as_sentence(result.search.text) if result.out_of_sample else evaluation_words.OLD,
        assumptions=result.assumptions,
    )


def _policy(line: PolicyLine) -> list[str]:
    """A row of the off-policy table. Cells stay empty when the log cannot support a number."""
    comparison = line.against_running if line.interval is not None else None
    # Evaluations from before always-valid intervals led have an interval for one look only.
    every, look = (None, line.interval) if line.one_look is None else (line.interval, line.one_look)
    return [
        line.policy,
        line.text,
        number(line.value),
        interval(every) if every is not None else "",
        interval(look) if look is not None else "",
        interval(comparison.interval, "signed") if comparison else "",
        "yes" if line.status == "identified" else f"{line.status.replace('_', ' ')}: {' '.join(line.reasons)}",
    ]


class Shown(NamedTuple):
    """The results in words, drawings and tables."""

    verdict: sentences.Verdict
    rule: list[str]
    metrics: list[ShownMetric]
    looks: Figure | None
    segments: list[tuple[str | None, list[Figure]]]
    ratio: result_figures.Table


def _shown(contents: Whole, results: Results, config: ExperimentConfig) -> Shown:
    return Shown(
        verdict=sentences.verdict(results, concluded=contents.findings.experiment.status == "concluded"),
        rule=sentences.rule(config.decision_rule, results.control),
        metrics=metrics(results, "sequential"),
        looks=looks(contents.findings),
        segments=[
            (
                split.segment,
                [result_figures.segments(metric, "sequential", split.segment or "") for metric in in_order(split)],
            )
            for split in contents.segments
        ],
        ratio=result_figures.ratio(results.sample_ratio),
    )


def _reward(config: ExperimentConfig) -> str:
    """Say how reports make the reward."""
    given = config.reward
    words = {
        "sum": "the sum of",
        "max": "the largest of",
        "mean": "the mean of",
        "first": "the first of",
        "last": "the last of",
    }
    return (
        f"Each decision's reward is {words[given.aggregation]} what is reported within {duration(given.window_s)} of it, "
        f"each report from {number(given.min)} to {number(given.max)}; without any report it is {number(given.default)}."
    )


def _chooses(document: Mapping[str, JsonValue]) -> str:
    """Say what an arm does."""
    parsed = parse_policy(document)
    if isinstance(parsed, FixedPolicy):
        return f"always chooses {parsed.action}"
    if isinstance(parsed, FirstActionPolicy):
        return "chooses the first action of each call"
    if not isinstance(parsed, BanditPolicy):
        return "chooses at random, every action equally often"
    given = "exploration_floor" in document  # a default floor is not mentioned
    floor = " falling to ".join(map(percent, dict.fromkeys((parsed.floor_start, parsed.exploration_floor))))
    return f"learns ({parsed.algorithm})" + f", with {floor} of its choices spread evenly over all actions" * given
