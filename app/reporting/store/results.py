"""Sums settled outcomes per arm in the database: means and centred second moments over units.

The queries return a few rows per arm, however long the log is. They sum the decisions of each unit first, because
units were randomised, not decisions.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class ArmSums(NamedTuple):
    """Moments over the units of one arm (of one segment) of a numerator and a denominator per unit."""

    arm: str
    segment: str | None  # value of the context field; null when results are not split
    units: int
    decisions: int
    mean_num: float
    mean_den: float
    var_num: float  # sum of squared deviations over n
    var_den: float
    cov: float


class Window(NamedTuple):
    """The data behind a report."""

    decisions: int
    units: int
    first: datetime | None  # time of the first settled decision; null when there is none
    last: datetime | None


class Assigned(NamedTuple):
    """The number of units whose first decision was in this arm under this configuration."""

    config_version: int
    arm: str
    units: int


# Each fragment gives one row per unit, with num and den, from the outcomes `o` of one experiment.
_PER_DECISION = """
    SELECT o.arm, o.segment, o.unit_id, count(*) AS decisions, sum({num}) AS num, {den} AS den
    FROM scope o {join} GROUP BY o.arm, o.segment, o.unit_id
"""
_REPORTED = """
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(r.value) FILTER (WHERE r.metric = :numerator), 0) AS total,
               count(*) FILTER (WHERE r.metric = :numerator) AS reports,
               coalesce(sum(r.value) FILTER (WHERE r.metric = :denominator), 0) AS base
        FROM rewards r
        WHERE r.decision_id = o.decision_id AND r.metric IN (:numerator, :denominator)
          AND (CAST(:window_s AS float8) IS NULL OR r.occurred_at <= o.decided_at + make_interval(secs => :window_s))
    ) r ON true
"""
_VISITS = """
    SELECT arm, segment, unit_id, count(*) AS decisions,
           sum(CASE WHEN previous IS NULL OR decided_at - previous > make_interval(secs => :gap_s) THEN 1 ELSE 0 END) AS num,
           1 AS den
    FROM (SELECT o.*, lag(decided_at) OVER (PARTITION BY unit_id ORDER BY decided_at) AS previous FROM scope o) v
    GROUP BY arm, segment, unit_id
"""
# Units that were first seen too recently could not have come back yet: they are left out.
_RETURNED = """
    SELECT arm, segment, unit_id, count(*) AS decisions,
           CASE WHEN max(decided_at) >= min(decided_at) + make_interval(secs => :after_s) THEN 1 ELSE 0 END AS num, 1 AS den
    FROM scope o GROUP BY arm, segment, unit_id
    HAVING min(decided_at) <= clock_timestamp() - make_interval(secs => :after_s)
"""
UNITS = {
    "reward": _PER_DECISION.format(num="o.reward", den="count(*)", join=""),
    "value/decision": _PER_DECISION.format(num="r.total", den="count(*)", join=_REPORTED),
    "value/unit": _PER_DECISION.format(num="r.total", den="1", join=_REPORTED),
    "count/decision": _PER_DECISION.format(num="r.reports", den="count(*)", join=_REPORTED),
    "count/unit": _PER_DECISION.format(num="r.reports", den="1", join=_REPORTED),
    "ratio": _PER_DECISION.format(num="r.total", den="sum(r.base)", join=_REPORTED),
    "sessions": _VISITS,
    "retention": _RETURNED,
}
_SCOPE = """
    WITH scope AS (
        SELECT o.arm, {segment} AS segment, o.unit_id, o.decision_id, o.reward, o.decided_at
        FROM analysed o {join} WHERE o.experiment_id = :experiment_id {until}
    ), units AS ({units}),
    cap AS (SELECT {cap}),
    cut AS (SELECT u.arm, u.segment, u.decisions, least(u.num, coalesce(cap.num, u.num))::float8 AS num,
                   u.den::float8 AS den FROM units u CROSS JOIN cap)
    SELECT arm, segment, count(*)::int AS units, sum(decisions)::bigint AS decisions, avg(num) AS mean_num,
           avg(den) AS mean_den, var_pop(num) AS var_num, var_pop(den) AS var_den, covar_pop(num, den) AS cov
    FROM cut GROUP BY arm, segment ORDER BY arm, segment
"""


# The segment at a unit's first decision: the arm may have caused later contexts, and each unit must count in one segment.
_FIRST_SEEN = """
    first_value(coalesce(d.context ->> :segment, '')) OVER (PARTITION BY o.unit_id ORDER BY o.decided_at, o.decision_id)
"""


def arm_sums(
    connection: Connection,
    experiment_id: int,
    units: str,
    values: Mapping[str, str | float | None],
    *,
    segment: str | None = None,
    winsorize: float | None = None,
    until: datetime | None = None,
) -> list[ArmSums]:
    """Sums of one metric per arm.

    :param units: a key of ``UNITS``.
    :param values: the parameters that its SQL names.
    :param segment: a top-level context field to split by; a unit belongs to the segment of its first decision.
    :param winsorize: quantile over all units at which values are cut.
    :param until: only decisions before it (see ``horizon``).
    """
    query = _SCOPE.format(
        units=UNITS[units],
        segment=_FIRST_SEEN if segment is not None else "NULL::text",
        join="JOIN decisions d ON d.id = o.decision_id" if segment is not None else "",
        cap="NULL::float8 AS num"
        if winsorize is None
        else "percentile_cont(:winsorize) WITHIN GROUP (ORDER BY u.num) AS num FROM units u",
        until="" if until is None else "AND o.decided_at < :until",
    )
    given = {"experiment_id": experiment_id, "segment": segment, "winsorize": winsorize, "until": until, **values}
    named = {name: value for name, value in given.items() if f":{name}" in query}
    return [ArmSums(**row._asdict()) for row in connection.execute(text(query), named)]


_OVERDUE = text(
    """
    SELECT min(d.decided_at) FROM awaiting_outcome a JOIN decisions d ON d.id = a.decision_id
    WHERE a.experiment_id = :id AND a.closes_at <= clock_timestamp()
    """
)


def horizon(connection: Connection, experiment_id: int) -> datetime | None:
    """Time of the oldest decision whose window closed and that is not settled yet; null when there is none.

    Arms are settled one after the other, so only decisions before this time have their outcomes in all arms. In a report
    on later decisions, an arm that waits to be settled would look like an arm that lost units.
    """
    overdue_since: datetime | None = connection.execute(_OVERDUE, {"id": experiment_id}).scalar_one()
    return overdue_since


def settled(connection: Connection, experiment_id: int) -> int:
    """All settled decisions."""
    query = "SELECT count(*) FROM analysed WHERE experiment_id = :id"
    return int(connection.execute(text(query), {"id": experiment_id}).scalar_one())


def give_memory(connection: Connection) -> None:
    """Give this transaction enough memory to group a million units without writing to disk."""
    connection.execute(text("SET LOCAL work_mem = '128MB'"))


_SEEN = """
    SELECT arm, unit_id, count(*) AS decisions, sum(reward) AS num, min(decided_at) AS first, max(decided_at) AS last
    FROM analysed WHERE experiment_id = :id AND decided_at < coalesce(CAST(:until AS timestamptz), 'infinity')
    GROUP BY arm, unit_id
"""
_OVERVIEW = text(
    f"""
    SELECT arm, count(*)::int AS units, sum(decisions)::bigint AS decisions, avg(num) AS mean_num,
        avg(decisions::float8) AS mean_den, var_pop(num) AS var_num, var_pop(decisions::float8) AS var_den,
        covar_pop(num, decisions::float8) AS cov, min(first) AS first, max(last) AS last
    FROM ({_SEEN}) seen GROUP BY arm ORDER BY arm
    """
)


class Overview(NamedTuple):
    """The units of each arm, the time of the data, and the sums of the reward, from one pass over the outcomes."""

    window: Window
    reward: list[ArmSums]

    @property
    def units(self) -> dict[str, int]:
        """Units with a settled decision, by arm."""
        return {row.arm: row.units for row in self.reward}


def overview(connection: Connection, experiment_id: int, until: datetime | None = None) -> Overview:
    """Summarise all settled decisions.

    :param until: only decisions before it (see ``horizon``).
    """
    rows = connection.execute(_OVERVIEW, {"id": experiment_id, "until": until}).all()
    sums = [
        ArmSums(
            arm=row.arm,
            segment=None,
            units=row.units,
            decisions=row.decisions,
            mean_num=row.mean_num,
            mean_den=row.mean_den,
            var_num=row.var_num,
            var_den=row.var_den,
            cov=row.cov,
        )
        for row in rows
    ]
    first, last = min((row.first for row in rows), default=None), max((row.last for row in rows), default=None)
    window = Window(sum(row.decisions for row in sums), sum(row.units for row in sums), first, last)
    return Overview(window, sums)


# A decision's time tells its configuration, except in a configuration's first minute: a decision under the previous one may
# have been in progress. For that minute, the query reads the decision itself.
_ASSIGNED = text(
    f"""
    WITH first AS (
        SELECT DISTINCT ON (unit_id) unit_id, arm, first AS decided_at FROM ({_SEEN}) seen ORDER BY unit_id, first, arm
    ), spans AS (
        SELECT version, created_at AS start,
            CASE WHEN version = 1 THEN '-infinity' ELSE created_at END AS low,
            coalesce(lead(created_at) OVER (ORDER BY version), 'infinity') AS high
        FROM experiment_configs WHERE experiment_id = :id
    )
    SELECT coalesce(d.config_version, s.version) AS config_version, f.arm, count(*)::int AS units
    FROM first f JOIN spans s ON f.decided_at >= s.low AND f.decided_at < s.high
    LEFT JOIN LATERAL (
        SELECT d.config_version FROM decisions d
        WHERE s.version > 1 AND f.decided_at < s.start + interval '1 minute' AND d.unit_id = f.unit_id
          AND d.experiment_id = :id AND d.decided_at = f.decided_at AND d.arm = f.arm
        LIMIT 1
    ) d ON true
    GROUP BY 1, 2 ORDER BY 1, 2
    """
)


def assigned(connection: Connection, experiment_id: int, until: datetime | None = None) -> list[Assigned]:
    """Count every unit once, by the configuration and arm of its first decision."""
    rows = connection.execute(_ASSIGNED, {"id": experiment_id, "until": until})
    return [Assigned(row.config_version, row.arm, row.units) for row in rows]


class Rewarded(NamedTuple):
    """How many of an arm's settled decisions had a reward event."""

    arm: str
    settled: int
    rewarded: int


def rewarded_per_arm(connection: Connection, experiment_id: int) -> list[Rewarded]:
    """Count settled and rewarded decisions by arm."""
    query = """
        SELECT arm, count(*) AS settled, count(*) FILTER (WHERE events > 0) AS rewarded
        FROM analysed WHERE experiment_id = :id GROUP BY arm
    """
    rows = connection.execute(text(query), {"id": experiment_id})
    return [Rewarded(row.arm, row.settled, row.rewarded) for row in rows]
