"""Counts decisions and settled rewards per arm in stretches of time, with the spread of rewards over units."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import NOT_TRIAL, decision_of


class Stretch(NamedTuple):
    """One arm in one stretch of time. Moments are over the units that have settled decisions in it."""

    arm: str
    stretch: int  # from 0
    decisions: int  # settled or waiting
    settled: int
    units: int
    rewarded: int  # settled decisions with a reward event in time
    mean_num: float  # reward per unit
    mean_den: float  # settled decisions per unit
    var_num: float  # sum of squared deviations over n
    var_den: float
    cov: float


class Span(NamedTuple):
    """The times of an experiment's first and last decision."""

    first: datetime
    last: datetime


def span(connection: Connection, experiment_id: int) -> Span | None:
    """First and last decision; null when none was made."""
    query = f"""
        SELECT min(decided_at) AS first, max(decided_at) AS last FROM decisions WHERE experiment_id = :id AND {NOT_TRIAL}
    """
    row = connection.execute(text(query), {"id": experiment_id}).one()
    return None if row.first is None else Span(row.first, row.last)


# The end of a waiting decision's window gives its time, so this query need not read the wide log itself.
_STRETCHES = text(
    """
    WITH seen AS (
        SELECT arm, unit_id, decided_at, reward, events FROM analysed WHERE experiment_id = :id
        UNION ALL
        SELECT arm, NULL, closes_at - make_interval(secs => :window_s), NULL, NULL
        FROM awaiting_outcome WHERE experiment_id = :id
    ), units AS (
        SELECT arm, unit_id, width_bucket(decided_at, CAST(:edges AS timestamptz[])) AS stretch,
            count(*) AS decisions, count(reward) AS den, coalesce(sum(reward), 0) AS num,
            count(*) FILTER (WHERE events > 0) AS rewarded
        FROM seen GROUP BY 1, 2, 3
    )
    SELECT arm, stretch, sum(decisions)::bigint AS decisions, sum(den)::bigint AS settled,
        count(*) FILTER (WHERE den > 0)::int AS units, sum(rewarded)::bigint AS rewarded,
        coalesce(avg(num) FILTER (WHERE den > 0), 0)::float8 AS mean_num,
        coalesce(avg(den) FILTER (WHERE den > 0), 0)::float8 AS mean_den,
        coalesce(var_pop(num) FILTER (WHERE den > 0), 0)::float8 AS var_num,
        coalesce(var_pop(den) FILTER (WHERE den > 0), 0)::float8 AS var_den,
        coalesce(covar_pop(num, den::float8) FILTER (WHERE den > 0), 0)::float8 AS cov
    FROM units GROUP BY 1, 2 ORDER BY 1, 2
    """
)


def stretches(connection: Connection, experiment_id: int, *, edges: list[datetime], window_s: float) -> list[Stretch]:
    """The stretches of every arm that have a decision.

    :param edges: the start of each stretch but the first, in order.
    :param window_s: the experiment's reward window, in seconds.
    """
    given = {"id": experiment_id, "edges": edges, "window_s": window_s}
    return [Stretch(**row._asdict()) for row in connection.execute(_STRETCHES, given)]


class OpenArm(NamedTuple):
    """One arm's decisions whose reward window is open, with what was reported for them so far."""

    arm: str
    read: int  # of them at most as many as were asked for
    open: int  # without those that reports leave out
    units: int
    rewarded: int  # with a reward so far
    rate: float | None  # reward per decision, if every window closed now; null: none is open
    first_closes: datetime | None
    last_closes: datetime | None


class Joining(NamedTuple):
    """How the rewards of a decision become one: those of ``bandits.rewards.join``."""

    aggregation: str
    default: float
    low: float
    high: float


_OPEN = text(
    f"""
    WITH waiting AS (
        SELECT a.experiment_id, a.arm, a.decision_id, a.closes_at, d.unit_id,
            NOT 'analyse' = ANY(coalesce(d.withheld, ARRAY[]::text[])) AND d.erased_at IS NULL
            AND NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = d.unit_id AND 'analyse' = ANY(r.denied))
            AND NOT EXISTS (SELECT FROM excluded_units x WHERE x.experiment_id = :id AND x.unit_id = d.unit_id) AS counts
        FROM unnest(CAST(:arms AS text[])) AS named (arm)
        CROSS JOIN LATERAL (
            SELECT * FROM awaiting_outcome w
            WHERE w.experiment_id = :id AND w.arm = named.arm AND w.closes_at > clock_timestamp()
            ORDER BY w.closes_at LIMIT :most
        ) a
        {decision_of("a")}
    ), reported AS (
        SELECT r.decision_id, CASE :aggregation
            WHEN 'sum' THEN sum(r.value) WHEN 'max' THEN max(r.value) WHEN 'mean' THEN avg(r.value)
            WHEN 'first' THEN (array_agg(r.value ORDER BY r.occurred_at, r.reward_id))[1]
            ELSE (array_agg(r.value ORDER BY r.occurred_at DESC, r.reward_id DESC))[1] END AS value
        FROM waiting w JOIN rewards r ON r.decision_id = w.decision_id AND r.experiment_id = w.experiment_id + 0
        WHERE r.metric = 'reward' AND NOT r.late GROUP BY 1
    )
    SELECT w.arm, count(*)::int AS read, count(*) FILTER (WHERE counts)::int AS open,
        count(DISTINCT w.unit_id) FILTER (WHERE counts)::int AS units, count(e.value) FILTER (WHERE counts)::int AS rewarded,
        avg(least(greatest(coalesce(e.value, :default), :low), :high)) FILTER (WHERE counts)::float8 AS rate,
        min(w.closes_at) AS first_closes, max(w.closes_at) AS last_closes
    FROM waiting w LEFT JOIN reported e ON e.decision_id = w.decision_id GROUP BY 1
    """
)


def open_arms(
    connection: Connection, experiment_id: int, arms: list[str], joining: Joining, *, most: int
) -> list[OpenArm]:
    """What the decisions with an open window have earned so far, by arm; an arm without one is left out.

    :param most: decisions of an arm that are read at most, those that close first.
    """
    given = {"id": experiment_id, "arms": arms, "most": most, **joining._asdict()}
    return [OpenArm(**row._asdict()) for row in connection.execute(_OPEN, given)]


_PARTS = text(
    """
    SELECT percentile_disc(CAST(:shares AS float8[])) WITHIN GROUP (ORDER BY decided_at)
    FROM analysed WHERE experiment_id = :id
    """
)


def parts(connection: Connection, experiment_id: int, shares: list[float]) -> list[datetime]:
    """The times before which these shares of the settled decisions were made; empty when nothing is settled."""
    times = connection.execute(_PARTS, {"id": experiment_id, "shares": shares}).scalar_one()
    return list(times or [])


class Today(NamedTuple):
    """Counts since midnight UTC."""

    day: str  # as in 2026-11-21
    decisions: int
    rewards: int


_TODAY = text(
    f"""
    SELECT to_char(clock_timestamp(), 'YYYY-MM-DD') AS day,
        (SELECT count(*) FROM decisions WHERE experiment_id = :id AND decided_at >= date_trunc('day', clock_timestamp())
            AND {NOT_TRIAL}) AS decisions,
        (SELECT count(*) FROM rewards WHERE experiment_id = :id AND received_at >= date_trunc('day', clock_timestamp()))
            AS rewards
    """
)


def today(connection: Connection, experiment_id: int) -> Today:
    """Decisions made and reward events received today."""
    row = connection.execute(_TODAY, {"id": experiment_id}).one()
    return Today(row.day, row.decisions, row.rewards)


class Choices(NamedTuple):
    """What an arm chose in a run of decisions."""

    decisions: int
    chosen: dict[str, int]  # by action


_CHOICES = """
    SELECT eligible[chosen + 1] AS action, count(*)::int AS times FROM (
        SELECT eligible, chosen FROM decisions WHERE experiment_id = :id AND arm = :arm AND state <> 'unanswered'
            AND {not_trial}
        ORDER BY decided_at {order} LIMIT :most
    ) part GROUP BY 1 ORDER BY 2 DESC, 1
"""


def choices(connection: Connection, experiment_id: int, arm: str, *, newest: bool, most: int) -> Choices:
    """Count how often an arm chose each action in its first, or its newest, ``most`` decisions."""
    query = text(_CHOICES.format(order="DESC" if newest else "ASC", not_trial=NOT_TRIAL))
    rows = connection.execute(query, {"id": experiment_id, "arm": arm, "most": most}).all()
    return Choices(sum(row.times for row in rows), {row.action: row.times for row in rows})
