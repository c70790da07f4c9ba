"""Sums over all experiments by day, and of users by the week in which they were first seen."""

from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, text


class Day(NamedTuple):
    """One day (UTC) of all experiments."""

    day: date
    decisions: int
    units: int
    new_units: int  # first seen in the days that were read
    rewards: float  # sum of the settled ones
    settled: int


class EventDay(NamedTuple):
    """Events of one name on one day (UTC)."""

    day: date
    name: str
    events: int
    units: int


class Returned(NamedTuple):
    """Users who were first seen in a week and seen in a later one."""

    cohort: date  # Monday
    week: int  # 0: the same week
    units: int


_SINCE = "date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - make_interval(days => :days)"
_DAYS = text(
    f"""
    WITH d AS (
        SELECT o.unit_id, (o.decided_at AT TIME ZONE 'UTC')::date AS day, o.reward,
            min((o.decided_at AT TIME ZONE 'UTC')::date) OVER (PARTITION BY o.unit_id) AS first
        FROM analysed_all o WHERE o.decided_at >= {_SINCE}
    )
    SELECT day, count(*) AS decisions, count(DISTINCT unit_id) AS units,
        count(DISTINCT unit_id) FILTER (WHERE day = first) AS new_units, sum(reward) AS rewards, count(*) AS settled
    FROM d GROUP BY day ORDER BY day
    """
)
_EVENTS = text(
    f"""
    SELECT (least(occurred_at, received_at) AT TIME ZONE 'UTC')::date AS day, name,
        count(*) AS events, count(DISTINCT unit_id) AS units
    FROM events e WHERE occurred_at >= {_SINCE}
      AND NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = e.unit_id AND 'analyse' = ANY(r.denied))
    GROUP BY 1, 2 ORDER BY 1, 2
    """
)
_COHORTS = text(
    f"""
    WITH d AS (
        SELECT DISTINCT o.unit_id, date_trunc('week', o.decided_at AT TIME ZONE 'UTC')::date AS week
        FROM analysed_all o WHERE o.decided_at >= {_SINCE}
    ), f AS (SELECT unit_id, week, min(week) OVER (PARTITION BY unit_id) AS cohort FROM d)
    SELECT cohort, (week - cohort) / 7 AS week, count(*) AS units FROM f GROUP BY 1, 2 ORDER BY 1, 2
    """
)


def days(connection: Connection, most: int) -> list[Day]:
    """The newest days with settled decisions."""
    return [Day(**row._asdict()) for row in connection.execute(_DAYS, {"days": most})]


def events(connection: Connection, most: int) -> list[EventDay]:
    """Events by name on the newest days."""
    return [EventDay(**row._asdict()) for row in connection.execute(_EVENTS, {"days": most})]


def cohorts(connection: Connection, most: int) -> list[Returned]:
    """Users by the week in which they were first seen, and the weeks in which they were seen again."""
    return [Returned(**row._asdict()) for row in connection.execute(_COHORTS, {"days": most})]
