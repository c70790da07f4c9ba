"""The first page: what needs somebody, the person's own experiments, the others; and the list for a search."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from app.accounts.pages.access import may, page, user
from app.design import drafts
from app.design.life import approvals, labels, saved_filters
from app.design.life.saved_filters import Filter, NamedFilter
from app.foundation.fields import JsonObject, read
from app.foundation.pages.charts.spark import spark
from app.foundation.pages.fields.kinds import clean
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.messaging.delivery import log as deliveries
from app.reporting import activity
from app.reporting import home as service
from app.reporting.home import Line
from app.reporting.pages.sentences import expected_end

SHOWN = 50
MOST_NEEDS = 8
MOST_SPARKS = 10  # experiments with a small line of the reward
SPARK_ARMS = 4


@page("/", "viewer")
def home() -> str:
    """Show the home page; with a search, a filter or a later page of the list, the list alone."""
    given = {name: request.args.get(name, "").strip() for name in Filter.model_fields}
    start = whole_number(request.args.get("from", "")) or 0
    first = not any(given.values()) and start == 0
    seen = _home() if first else None
    lines = seen.others if seen else service.lines(process().engine, **given)
    start = min(start, max(0, len(lines) - 1))
    return render_template(
        "home.html",
        section="experiments",
        home=seen,
        most_needs=MOST_NEEDS,
        approvals=approvals.waiting(process().engine) if seen else [],
        failing=deliveries.failing(process().engine) if seen else None,
        sparks={line.key: _spark(line) for line in seen.own[:MOST_SPARKS]} if seen else {},
        lines=lines[start : start + SHOWN],
        count=len(lines),
        start=start,
        shown=SHOWN,
        given=given,
        filtered=any(value for name, value in given.items() if name != "sort"),
        choices=saved_filters.choices(process().engine, user().id),
        expected_end=expected_end,
        sorts=service.SORTS,
        statuses=service.STATUSES,
        drafts=drafts.unfinished(process().engine) if may("editor") and not any(given.values()) else [],
    )


@page("/filters", "viewer", ("POST",))
def save_filter() -> ResponseReturnValue:
    """Save the filter of the list under a name for oneself, or forget one."""
    name, engine = " ".join(clean(request.form.get("name", "")).split()), process().engine
    if request.form.get("do") == "remove":
        saved_filters.remove(engine, user().id, name)
        flash(f"The filter {name} is removed.")
        return redirect(url_for("admin.home"))
    given = {field: clean(request.form.get(field, "")).strip() for field in Filter.model_fields}
    named = read(NamedFilter, {"name": name, "filter": given})
    saved_filters.save(engine, user().id, named)
    flash(f"The filter {name} is saved.")
    shown: JsonObject = {field: value for field, value in given.items() if value}
    return redirect(url_for("admin.home", **shown))


def _home() -> service.Home:
    engine = process().engine
    return service.home(engine, user().name, labels.starred(engine, user().id))


def _spark(line: Line) -> Markup:
    """The reward per decision over time of an experiment's largest arms."""
    newest = activity.get(process().engine, line.key)
    if newest is None:
        return Markup("")
    arms = sorted(newest.arms, key=lambda arm: -arm.decisions)[:SPARK_ARMS]
    series = [
        (f"c{index}", [point.rate for point in arm.rates if point.rate is not None]) for index, arm in enumerate(arms)
    ]
    return spark(f"Reward per decision over time in {line.name or line.key}", series)
