"""Sums per arm, made in the database from settled outcomes: means and centred second moments over units.

What comes out has the size of the answer, not of the log. A unit's many decisions are summed first: units, not
decisions, are what was randomised.
"""

from typing import Any, NamedTuple

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
    first: Any  # time of the first settled decision; null when there is none
    last: Any


# One row per unit: num and den. Every fragment sees the outcomes `o` of one experiment.
_PER_DECISION = """
    SELECT o.arm, o.segment, o.unit_id, count(*) AS decisions, sum({num}) AS num, sum({den}) AS den
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
# Only units that were first seen long enough ago could have come back by now.
_RETURNED = """
    SELECT arm, segment, unit_id, count(*) AS decisions,
           CASE WHEN max(decided_at) >= min(decided_at) + make_interval(secs => :after_s) THEN 1 ELSE 0 END AS num, 1 AS den
    FROM scope o GROUP BY arm, segment, unit_id
    HAVING min(decided_at) <= clock_timestamp() - make_interval(secs => :after_s)
"""
UNITS = {
    "reward": _PER_DECISION.format(num="o.reward", den="1", join=""),
    "value/decision": _PER_DECISION.format(num="r.total", den="1", join=_REPORTED),
    "value/unit": _PER_DECISION.format(num="r.total", den="1", join=_REPORTED).replace("sum(1) AS den", "1 AS den"),
    "count/decision": _PER_DECISION.format(num="r.reports", den="1", join=_REPORTED),
    "count/unit": _PER_DECISION.format(num="r.reports", den="1", join=_REPORTED).replace("sum(1) AS den", "1 AS den"),
    "ratio": _PER_DECISION.format(num="r.total", den="r.base", join=_REPORTED),
    "sessions": _VISITS,
    "retention": _RETURNED,
}
_SCOPE = """
    WITH scope AS MATERIALIZED (
        SELECT o.arm, {segment} AS segment, o.unit_id, o.decision_id, o.reward, o.decided_at
        FROM outcomes o {join} WHERE o.experiment_id = :experiment_id
    ), units AS ({units}),
    cap AS (SELECT {cap} AS num),
    cut AS (SELECT u.arm, u.segment, u.decisions, least(u.num, coalesce(cap.num, u.num))::float8 AS num,
                   u.den::float8 AS den FROM units u CROSS JOIN cap)
    SELECT arm, segment, count(*)::int, sum(decisions)::bigint, avg(num), avg(den), var_pop(num), var_pop(den),
           covar_pop(num, den)
    FROM cut GROUP BY arm, segment ORDER BY arm, segment
"""


def arm_sums(
    connection: Connection,
    experiment_id: int,
    units: str,
    values: dict[str, Any],
    *,
    segment: str | None = None,
    winsorize: float | None = None,
) -> list[ArmSums]:
    """Sums of one metric per arm.

    :param units: a key of ``UNITS``.
    :param values: the parameters that its SQL names.
    :param segment: a top-level context field to split by.
    :param winsorize: quantile over all units at which values are cut.
    """
    query = _SCOPE.format(
        units=UNITS[units],
        segment="coalesce(d.context ->> :segment, '')" if segment is not None else "NULL::text",
        join="JOIN decisions d ON d.id = o.decision_id" if segment is not None else "",
        cap="NULL::float8"
        if winsorize is None
        else "percentile_cont(:winsorize) WITHIN GROUP (ORDER BY num) FROM units",
    )
    given = {"experiment_id": experiment_id, "segment": segment, "winsorize": winsorize, **values}
    named = {name: value for name, value in given.items() if f":{name}" in query}
    return [ArmSums._make(row) for row in connection.execute(text(query), named)]


def window(connection: Connection, experiment_id: int) -> Window:
    """How much data there is, and from when."""
    query = """
        SELECT count(*), count(DISTINCT unit_id), min(decided_at), max(decided_at)
        FROM outcomes WHERE experiment_id = :id
    """
    return Window._make(connection.execute(text(query), {"id": experiment_id}).one())


def units_per_arm(connection: Connection, experiment_id: int) -> dict[str, int]:
    """Units with a settled decision, by arm."""
    query = "SELECT arm, count(DISTINCT unit_id) FROM outcomes WHERE experiment_id = :id GROUP BY arm"
    return {row[0]: row[1] for row in connection.execute(text(query), {"id": experiment_id})}


def rewarded_per_arm(connection: Connection, experiment_id: int) -> dict[str, tuple[int, int]]:
    """(settled decisions, those with a reward event) by arm."""
    query = (
        "SELECT arm, count(*), count(*) FILTER (WHERE events > 0) FROM outcomes WHERE experiment_id = :id GROUP BY arm"
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(text(query), {"id": experiment_id})}
