"""KPIs over all experiments, and what was decided about them."""

from datetime import UTC, datetime

from flask import Response, render_template, request

from app.accounts.pages.access import page
from app.design.history import WORDS
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Series
from app.foundation.pages.charts.parts import Point
from app.foundation.pages.format import number, percent
from app.foundation.serving import process
from app.impact import kpis, learnings
from app.impact.kpis import Kpis

SHOWN = 200  # learnings on the page; the file has all
MOST_EVENTS = 4  # lines of a chart


@page("/impact", "viewer")
def impact() -> str:
    """KPIs over all experiments by day, week and cohort."""
    figures = kpis.stored(process().engine)
    return render_template(
        "impact.html",
        section="impact",
        kpis=figures,
        figures=[_users(figures), _events(figures)] if figures.days else [],
        weeks=_weeks(figures),
        cohorts=_cohorts(figures),
    )


@page("/learnings", "viewer")
def all_learnings() -> str:
    """What was decided, why, by whom."""
    search, experiment = request.args.get("search", ""), request.args.get("experiment") or None
    found = learnings.find(process().engine, search, experiment)
    return render_template(
        "learnings.html",
        section="impact",
        rows=found.learnings[:SHOWN],
        count=len(found.learnings),
        search=search,
        experiment=experiment,
        words=WORDS,
    )


@page("/learnings.csv", "viewer")
def learnings_file() -> Response:
    """The learnings that a search found, as a file."""
    found = learnings.find(process().engine, request.args.get("search", ""), request.args.get("experiment") or None)
    response = Response(learnings.as_csv(found), mimetype="text/csv")
    response.headers["Content-Disposition"] = f"attachment; filename=learnings-{datetime.now(UTC):%Y-%m-%d}.csv"
    return response


def _users(figures: Kpis) -> Figure:
    series = [
        Series("users", [Point(_at(day.begins), float(day.units or 0)) for day in figures.days]),
        Series("new users", [Point(_at(day.begins), float(day.new_units)) for day in figures.days]),
    ]
    caption = "Users by day"
    rows = [
        [day.begins, number(day.decisions), number(day.units), number(day.new_units), number(day.rewards)]
        for day in figures.days
    ]
    head = ["Day (UTC)", "Decisions", "Users", "New users", "Sum of rewards"]
    chart = charts.lines(series, title=caption, unit="users", edges=(0.0, None))
    return Figure("users", caption, chart, head, rows)


def _events(figures: Kpis) -> Figure:
    names = sorted({name for day in figures.days for name in day.events})
    series = [
        Series(name, [Point(_at(day.begins), float(day.events.get(name, 0))) for day in figures.days])
        for name in names[:MOST_EVENTS]
    ]
    caption = "Events by day"
    rows = [[day.begins, *(number(day.events.get(name, 0)) for name in names)] for day in figures.days]
    chart = charts.lines(series, title=caption, unit="events", edges=(0.0, None))
    return Figure("events", caption, chart, ["Day (UTC)", *names], rows)


def _weeks(figures: Kpis) -> tuple[list[str], list[list[str]]]:
    names = sorted({name for week in figures.weeks for name in week.events})
    rows = [
        [
            week.begins,
            number(week.decisions),
            number(week.new_units),
            number(week.rewards),
            *(number(week.events.get(name, 0)) for name in names),
        ]
        for week in figures.weeks
    ]
    return ["Week from", "Decisions", "New users", "Sum of rewards", *names], rows


def _cohorts(figures: Kpis) -> tuple[list[str], list[list[str]]]:
    width = max((len(cohort.units) for cohort in figures.cohorts), default=0)
    rows = []
    for cohort in figures.cohorts:
        shares = [percent(units / cohort.units[0], 0) for units in cohort.units[1:]]
        rows.append([cohort.begins, number(cohort.units[0]), *shares, *["" for _ in range(width - len(cohort.units))]])
    return ["First seen in the week from", "Users", *(f"Week {week}" for week in range(1, width))], rows


def _at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
