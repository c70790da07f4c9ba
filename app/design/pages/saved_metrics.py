"""The page of the library of metrics."""

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.library import saved_metrics as service
from app.design.metric_config import MetricSpec
from app.design.pages.definition_words import SOURCES
from app.foundation.serving import process


@page("/saved-metrics", "viewer")
def saved_metrics() -> str:
    """Every metric of the library, and where it is used."""
    rows = [(saved, _words(saved.metric)) for saved in service.listed(process().engine)]
    return render_template("saved_metrics.html", section="experiments", rows=rows)


@page("/saved-metrics/<key>/remove", "editor", ("POST",))
def remove_saved_metric(key: str) -> ResponseReturnValue:
    """Take a metric out of the library."""
    service.remove(process().engine, key, user().name)
    flash(f"{key} is removed from the library. Experiments that use it keep it.")
    return redirect(url_for("admin.saved_metrics"))


def _words(metric: MetricSpec) -> str:
    """What a metric measures, and of which reports or events."""
    source = metric.source.model_dump()
    names = [source[name] for name in ("metric", "numerator", "denominator", "event") if name in source]
    return (
        ": ".join([dict(SOURCES)[metric.source.type], " / ".join(names)])
        if names
        else dict(SOURCES)[metric.source.type]
    )
