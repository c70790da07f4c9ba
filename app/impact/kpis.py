"""KPIs over all experiments by day, week and cohort. The worker computes them now and then; pages show them with their age."""

import time
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import Engine

from app.foundation.fields import Document
from app.foundation.store import latest, platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.impact.store import kpis as store
from app.reporting.store import results

KIND = "kpis"
DAYS = 91  # thirteen weeks
EVERY_S = 900.0
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
ASSUMPTIONS = [
    "Settled decisions of all experiments, the global holdout's too. Users without consent to be analysed are not counted.",
    "A user is new on the first of the days shown. Days and weeks are UTC; weeks begin on Monday, and the first and the newest "
    "are not whole.",
    "Rewards of several experiments are added as they are. These figures describe; they compare nothing.",
]


class Span(Document):
    """A day or a week."""

    begins: str  # ISO 8601 date
    decisions: int
    units: int | None  # null: not known of a week, whose users come on several days
    new_units: int
    rewards: float
    events: dict[str, int]  # by name


class Cohort(Document):
    """Users who were first seen in a week, and how many were seen in each week after it."""

    begins: str
    units: list[int]  # by week, from 0


class Kpis(Document):
    """Figures of all experiments together."""

    days: list[Span]
    weeks: list[Span]
    cohorts: list[Cohort]
    assumptions: list[str]
    computed_at: str | None = None  # null: the worker has computed none yet


def stored(engine: Engine) -> Kpis:
    """The newest figures of the worker."""
    with transaction(engine) as connection:
        newest = latest.get(connection, latest.PLATFORM, KIND)
    if newest is None:
        return Kpis(days=[], weeks=[], cohorts=[], assumptions=ASSUMPTIONS)
    return Kpis.model_validate(newest.body).model_copy(update={"computed_at": iso(newest.computed_at)})


def compute_due(engine: Engine) -> bool:
    """Compute the figures if they are old, at intervals that depend on the time that takes; True: computed."""
    with transaction(engine) as connection:
        before, now = latest.get(connection, latest.PLATFORM, KIND), platform.now(connection)
    if before is not None and (now - before.computed_at).total_seconds() < max(EVERY_S, FACTOR * before.seconds):
        return False
    compute(engine)
    return True


def compute(engine: Engine) -> None:
    """Compute and store the figures."""
    began = time.monotonic()
    with transaction(engine) as connection:
        results.give_memory(connection)
        days = _days(store.days(connection, DAYS), store.events(connection, DAYS))
        figures = Kpis(
            days=days,
            weeks=_weeks(days),
            cohorts=_cohorts(store.cohorts(connection, DAYS)),
            assumptions=ASSUMPTIONS,
        )
        latest.put(connection, latest.PLATFORM, KIND, {}, figures.as_json(), time.monotonic() - began)


def _days(rows: Sequence[store.Day], events: Sequence[store.EventDay]) -> list[Span]:
    known = {row.day: row for row in rows}
    by_day: dict[date, dict[str, int]] = {}
    for event in events:
        by_day.setdefault(event.day, {})[event.name] = event.events
    return [_day(day, known.get(day), by_day.get(day, {})) for day in sorted({*known, *by_day})]


def _day(day: date, row: store.Day | None, events: dict[str, int]) -> Span:
    return Span(
        begins=day.isoformat(),
        decisions=row.decisions if row else 0,
        units=row.units if row else 0,
        new_units=row.new_units if row else 0,
        rewards=row.rewards if row else 0.0,
        events=events,
    )


def _weeks(days: Sequence[Span]) -> list[Span]:
    weeks: dict[date, list[Span]] = {}
    for day in days:
        at = date.fromisoformat(day.begins)
        weeks.setdefault(at - timedelta(days=at.weekday()), []).append(day)
    return [_week(begins, of_week) for begins, of_week in weeks.items()]


def _week(begins: date, days: Sequence[Span]) -> Span:
    events: dict[str, int] = {}
    for day in days:
        for name, count in day.events.items():
            events[name] = events.get(name, 0) + count
    return Span(
        begins=begins.isoformat(),
        decisions=sum(day.decisions for day in days),
        units=None,
        new_units=sum(day.new_units for day in days),
        rewards=sum(day.rewards for day in days),
        events=events,
    )


def _cohorts(rows: Sequence[store.Returned]) -> list[Cohort]:
    cohorts: dict[date, dict[int, int]] = {}
    for row in rows:
        cohorts.setdefault(row.cohort, {})[row.week] = row.units
    return [
        Cohort(begins=cohort.isoformat(), units=[weeks.get(week, 0) for week in range(max(weeks) + 1)])
        for cohort, weeks in cohorts.items()
    ]
