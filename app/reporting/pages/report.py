"""The report to send to somebody: one HTML file that needs nothing else, with what ran, what it shows and what is assumed."""

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Response, render_template, request

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.format import interval, number, percent
from app.foundation.serving import process
from app.reporting import findings
from app.reporting.findings import Whole
from app.reporting.pages import overview_figures, result_figures, sentences
from app.reporting.pages.results import in_order, metrics
from app.reporting.result_lines import control_of

CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@page("/experiments/<key>/report", "viewer")
def report(key: str) -> Response:
    """The report as a download; with ``show``, in the browser."""
    found = findings.whole(process().engine, key)
    now = datetime.now(UTC)
    config = ExperimentConfig.model_validate(found.findings.experiment.config)
    text = render_template(
        "report.html",
        key=key,
        experiment=found.findings.experiment,
        config=config,
        now=now,
        version=_version(),
        policy_rows=_arms(config),
        reward=sentences.reward(config),
        results=found.findings.results,
        evaluation=found.evaluation,
        evaluation_rows=[_policy(line) for line in found.evaluation["result"]["policies"]] if found.evaluation else [],
        notes=found.notes,
        **_shown(found, config),
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
    control = control_of(config)
    return [
        [f"{arm.key} (control)" if arm.key == control else arm.key, percent(arm.share), sentences.policy(arm.policy)]
        for arm in config.arms
    ]


def _policy(line: dict[str, Any]) -> list[str]:
    """A line of the off-policy table; without a number where the log cannot support one."""
    against = line["against_running"]
    shown = line["interval"] is not None
    return [
        line["policy"],
        line["text"],
        number(line["value"]),
        interval(line["interval"]) if shown else "",
        interval(against["interval"], "signed") if against and shown else "",
        "yes" if line["status"] == "identified" else f"{line['status'].replace('_', ' ')}: {' '.join(line['reasons'])}",
    ]


def _shown(found: Whole, config: ExperimentConfig) -> dict[str, Any]:
    results, looks, activity = found.findings.results, found.findings.looks, found.activity
    shown: dict[str, Any] = {"activity": activity}
    if activity and activity["decisions"]:
        shown["rates"] = overview_figures.rates(activity, config)
        shown["learning"] = [(one["arm"], sentences.learning(one)) for one in activity["learning"]]
    if results is None:
        return shown
    return shown | {
        "verdict": sentences.verdict(results),
        "rule": sentences.rule(config.decision_rule, results["control"]),
        "metrics": metrics(results, "sequential"),
        "looks": result_figures.looks(looks) if len(looks) > 1 and looks[-1].comparisons else None,
        "segments": [
            (
                one["segment"],
                [result_figures.segments(metric, "sequential", one["segment"]) for metric in in_order(one)],
            )
            for one in found.segments
        ],
        "ratio": result_figures.ratio(results["sample_ratio"]),
    }
