"""Quantiles over units of what they reported, per arm."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from app.reporting.store.metric_sums import UNITS, Scope, Values, named


class ArmQuantile(NamedTuple):
    """A quantile of one arm's units (of one segment), and the quantiles at the ends of its 95% range."""

    arm: str
    segment: str | None
    units: int
    decisions: int
    value: float
    low: float
    high: float


_QUANTILES = """
    WITH scope AS ({scope}), units AS ({units}), sizes AS (
        SELECT arm, segment, count(*) AS n FROM units GROUP BY arm, segment
    ), ends AS (
        SELECT arm, segment, n, greatest(:quantile - s.step, 0) AS below, least(:quantile + s.step, 1) AS above
        FROM sizes, LATERAL (SELECT :z * sqrt(:quantile * (1 - :quantile) / n) AS step) s
    )
    SELECT u.arm, u.segment, e.n::int AS units, sum(u.decisions)::bigint AS decisions,
        percentile_cont(:quantile) WITHIN GROUP (ORDER BY u.num::float8) AS value,
        percentile_cont(e.below) WITHIN GROUP (ORDER BY u.num::float8) AS low,
        percentile_cont(e.above) WITHIN GROUP (ORDER BY u.num::float8) AS high
    FROM units u JOIN ends e ON e.arm = u.arm AND e.segment IS NOT DISTINCT FROM u.segment
    GROUP BY u.arm, u.segment, e.n, e.below, e.above ORDER BY u.arm, u.segment
"""


def arm_quantiles(
    connection: Connection,
    scope: Scope,
    values: Values,
    quantile: float,
    z: float,
    *,
    open_too: bool = False,
) -> list[ArmQuantile]:
    """The quantile of the sum of a metric's values per unit, per arm and segment.

    :param z: half the width of the range in standard errors of the quantile's rank.
    """
    query = _QUANTILES.format(scope=scope.query(), units=UNITS["value/unit"])
    given = {**scope.values(), **values, "quantile": quantile, "z": z, "open": open_too}
    return [ArmQuantile(**row._asdict()) for row in connection.execute(text(query), named(given, query))]
