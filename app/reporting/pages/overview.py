"""Shows how an experiment does now; the page refreshes its figures by itself."""

from flask import Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from werkzeug.http import generate_etag, quote_etag

from app.accounts.pages.access import page
from app.design.experiment_config import ExperimentConfig
from app.design.life.beginning import first_window
from app.design.pages.experiment import experiment_page
from app.foundation.pages.charts import Figure
from app.foundation.pages.format import NO_VALUE, duration, number, percent, plural
from app.foundation.serving import process
from app.reporting import overview as service
from app.reporting.documents.activity import Activity
from app.reporting.overview import Overview
from app.reporting.pages import overview_figures as figures
from app.reporting.pages import sentences
from app.reporting.pages.shown import time_range


@page("/experiments/<key>/", "viewer")
def overview(key: str) -> str:
    """Show the page. ``overview_live`` serves its live part."""
    newest = service.get(process().engine, key)
    live = _live(key, newest)
    return experiment_page(
        "overview.html",
        key,
        "overview",
        experiment=newest.experiment,
        live=Markup(live),  # noqa: S704 - rendered, and with that escaped, by the fragment's own template
        etag=quote_etag(generate_etag(live.encode())),
        address=url_for("admin.overview_live", key=key, fragment=1, days=time_range.chosen()),
    )


@page("/experiments/<key>/live", "viewer")
def overview_live(key: str) -> ResponseReturnValue:
    """Serve the live figures alone; status 304 when nothing changed."""
    response = Response(_live(key, service.get(process().engine, key)), mimetype="text/html")
    response.add_etag()
    return response.make_conditional(request)


def _live(key: str, newest: Overview) -> str:
    config = ExperimentConfig.model_validate(newest.experiment.config)
    activity = newest.activity if newest.activity and newest.activity.decisions else None
    return render_template(
        "overview_live.html",
        key=key,
        tab="overview",
        experiment=newest.experiment,
        config=config,
        badges=newest.badges,
        activity=activity,
        tiles=_tiles(activity, config) if activity else [],
        rates=_rates(activity, config) if activity and activity.settled else None,
        figures=_figures(activity) if activity else [],
        range_address=lambda days: url_for("admin.overview", key=key, days=days or None),
        ranges=time_range.ranges(activity.first, activity.last) if activity else {},
        days=time_range.chosen(),
        learning=[
            (arm.arm, sentences.learning(arm), sentences.serving(newest.models.get(arm.arm)))
            for arm in (activity.learning if activity else [])
        ],
        verdict=sentences.verdict(newest.results, concluded=newest.experiment.status == "concluded")
        if newest.results
        else None,
        first_window=first_window(process().engine, newest.experiment),
        progress=sentences.progress(newest.progress) if newest.progress else "",
        share=newest.progress.share if newest.progress else 0,
        so_far=figures.so_far(activity, config),
        results_age=sentences.roughly_ago(newest.results.computed_at) if newest.results else "",
    )


def _rates(activity: Activity, config: ExperimentConfig) -> tuple[Figure, Figure]:
    """The reward rates by part, and of everything so far."""
    newest = time_range.newest_activity(activity, time_range.chosen())
    return figures.rates(newest, config), figures.cumulative_rates(newest, config)


def _figures(activity: Activity) -> list[Figure]:
    chosen = enumerate(activity.choices)
    return [
        figures.decisions(time_range.newest_activity(activity, time_range.chosen())),
        *(figures.choices(arm, number) for number, arm in chosen if arm.now.decisions),
    ]


def _tiles(activity: Activity, config: ExperimentConfig) -> list[tuple[str, str, str]]:
    """For each tile: the figure, what it counts, and a second line."""
    rewarded = (
        percent(activity.rewarded / activity.settled) if activity.settled else NO_VALUE,
        "of settled decisions had a reward",
        plural(activity.settled, "settled decision"),
    )
    waiting = activity.waiting
    if waiting and waiting.open and not activity.settled:
        with_reward = sum(arm.rewarded for arm in waiting.arms)
        share = percent(with_reward / waiting.open)
        rewarded = (share, "of open decisions have a reward so far", "provisional")
    return [
        (number(activity.decisions), "decisions", plural(activity.decisions_today, "today", "today")),
        (number(activity.rewards_today), "rewards today", ""),
        rewarded,
        (
            number(activity.decisions - activity.settled),
            "wait for rewards",
            f"reward window: {duration(config.reward.window_s)}",
        ),
    ]
