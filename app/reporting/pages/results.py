"""What the experiment shows: every arm against control on every metric, and how far the numbers can be trusted."""

from typing import Any

from flask import request

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.design.pages.experiment import experiment_page
from app.foundation.serving import process
from app.reporting import findings
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
    config = ExperimentConfig.model_validate(found.experiment.config)
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
        checks=CHECKS,
        **(_shown(found, config, method, segment) if found.results else {}),
    )


def _shown(found: Findings, config: ExperimentConfig, method: str, segment: str | None) -> dict[str, Any]:
    results = found.results or {}
    split = found.by_segment
    return {
        "verdict": sentences.verdict(results),
        "rule": sentences.rule(config.decision_rule, results["control"]),
        "metrics": metrics(results, method),
        "looks": figures.looks(found.looks) if len(found.looks) > 1 and found.looks[-1].comparisons else None,
        "split": split and [figures.segments(one, method, segment or "") for one in in_order(split)],
        "split_at": split and split["computed_at"],
        "ratio": figures.ratio(results["sample_ratio"]),
    }


def in_order(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What decides first, then the guardrails, then the rest."""
    return sorted(results["metrics"], key=lambda one: ORDER.index(one["role"]))


def metrics(results: dict[str, Any], method: str) -> list[dict[str, Any]]:
    """Every metric with its figure and what has to be said about it."""
    return [
        {
            "name": one["name"],
            "role": sentences.ROLES[one["role"]],
            "figure": figures.metric(one, method, place),
            "notes": sentences.metric_notes(one),
        }
        for place, one in enumerate(in_order(results))
    ]
