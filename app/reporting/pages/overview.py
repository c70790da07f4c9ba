"""How an experiment stands now; the figures come by themselves."""

from typing import Any

from flask import Response, render_template, request, url_for
from markupsafe import Markup
from werkzeug.http import generate_etag, quote_etag

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.design.pages.experiment import experiment_page
from app.foundation.serving import process
from app.reporting import overview as service
from app.reporting.overview import Overview
from app.reporting.pages import overview_figures as figures
from app.reporting.pages import sentences


@page("/experiments/<key>/", "viewer")
def overview(key: str) -> str:
    """The page; its live part is the fragment below."""
    found = service.get(process().engine, key)
    live = _live(key, found)
    return experiment_page(
        "overview.html",
        key,
        "overview",
        experiment=found.experiment,
        live=Markup(live),  # rendered, and with that escaped, by the fragment's own template
        etag=quote_etag(generate_etag(live.encode())),
        address=url_for("admin.overview_live", key=key, fragment=1),
    )


@page("/experiments/<key>/live", "viewer")
def overview_live(key: str) -> Any:
    """The figures alone; 304 when nothing changed."""
    response = Response(_live(key, service.get(process().engine, key)), mimetype="text/html")
    response.add_etag()
    return response.make_conditional(request)


def _live(key: str, found: Overview) -> str:
    config = ExperimentConfig.model_validate(found.experiment.config)
    activity = found.activity if found.activity and found.activity["decisions"] else None
    shown: dict[str, Any] = {}
    if activity is not None:
        shown["figures"] = [
            figures.rates(activity, config),
            figures.decisions(activity),
            *(figures.choices(one, place) for place, one in enumerate(activity["choices"]) if one["now"]["decisions"]),
        ]
        shown["learning"] = [
            (one["arm"], sentences.learning(one), sentences.serving(found.models.get(one["arm"])))
            for one in activity["learning"]
        ]
    if found.results is not None:
        shown["verdict"] = sentences.verdict(found.results)
        shown["results_age"] = sentences.roughly_ago(found.results["computed_at"])
    return render_template(
        "overview_live.html",
        key=key,
        experiment=found.experiment,
        config=config,
        badges=found.badges,
        activity=activity,
        **shown,
    )
