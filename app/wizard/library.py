"""The step Metrics and the library: a metric is saved for other experiments, or a saved one is added."""

from flask import flash

from app.accounts.pages.access import user
from app.design.library import saved_metrics
from app.design.metric_config import MetricSpec
from app.foundation.fields import JsonObject
from app.foundation.pages.fields.kinds import Typed
from app.foundation.serving import process
from app.wizard.form import METRIC
from app.wizard.frame import Opened


def listed(tree: Typed) -> list[MetricSpec]:
    """The saved metrics that a draft does not have yet."""
    here = {row["key"].strip() for row in tree["metrics"]}
    return [metric for metric in saved_metrics.metrics(process().engine) if metric.key not in here]


def take(tree: Typed, key: str) -> JsonObject:
    """Add a copy of a saved metric to the typed metrics; returns the view that shows it."""
    for metric in listed(tree):
        if metric.key == key:
            tree["metrics"].append(METRIC.of_document(metric.model_dump(mode="json")))
            return {"_anchor": f"/metrics/{len(tree['metrics']) - 1}"}
    flash("Choose a saved metric that this draft does not have yet.")
    return {}


def keep(saved: Opened, pointer: str) -> JsonObject:
    """Save a metric of a draft in the library; ``pointer`` is that of its row. Returns the view that shows it."""
    index, typed = pointer.removeprefix("/metrics/"), saved.checked.document["metrics"]
    wrong = [field for field in saved.checked.problems if field.startswith(f"{pointer}/")]
    if not index.isdecimal() or int(index) >= len(typed) or wrong:
        flash("Fix the errors of this metric first, then save it for other experiments.")
        return {"check": 1, "_anchor": pointer}
    metric = MetricSpec.model_validate(typed[int(index)])
    saved_metrics.keep(process().engine, metric, user().name)
    flash(f"{metric.name or metric.key} is saved. Other experiments can add it in the step Metrics.")
    return {"_anchor": pointer}
