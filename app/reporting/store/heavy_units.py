"""Units that weigh more than others: decisions per unit in each arm, and reports whose device had a wrong clock."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import decision_of

NEWEST_REPORTS = 200_000


class ArmWeight(NamedTuple):
    """How the decisions of an arm spread over its units."""

    arm: str
    units: int
    decisions: int
    effective_units: float  # (sum of decisions)^2 / sum of squared decisions


class HeavyUnit(NamedTuple):
    """One of the units with the most decisions in an arm."""

    arm: str
    unit_id: str
    decisions: int


_PER_UNIT = "SELECT arm, unit_id, count(*) AS decisions FROM analysed WHERE experiment_id = :id GROUP BY arm, unit_id"
_WEIGHTS = text(
    f"""
    SELECT arm, count(*) AS units, sum(decisions)::bigint AS decisions,
        (sum(decisions)::float8 ^ 2 / sum(decisions::float8 ^ 2)) AS effective_units
    FROM ({_PER_UNIT}) u GROUP BY arm ORDER BY arm
    """
)
_HEAVIEST = text(
    f"""
    SELECT arm, unit_id, decisions FROM (
        SELECT *, row_number() OVER (PARTITION BY arm ORDER BY decisions DESC, unit_id) AS place FROM ({_PER_UNIT}) u
    ) ranked WHERE place <= :most ORDER BY arm, place
    """
)


def weights(connection: Connection, experiment_id: int) -> list[ArmWeight]:
    """How the settled decisions of each arm spread over its units."""
    return [ArmWeight(**row._asdict()) for row in connection.execute(_WEIGHTS, {"id": experiment_id})]


def heaviest(connection: Connection, experiment_id: int, most: int) -> list[HeavyUnit]:
    """The units with the most settled decisions of each arm."""
    rows = connection.execute(_HEAVIEST, {"id": experiment_id, "most": most})
    return [HeavyUnit(**row._asdict()) for row in rows]


class Clocks(NamedTuple):
    """Reports with a time that cannot be: before their decision, or after we got them."""

    reports: int
    impossible: int


_CLOCKS = text(
    f"""
    SELECT count(*) AS reports,
        count(*) FILTER (WHERE r.occurred_at > r.received_at OR r.occurred_at < d.decided_at) AS impossible
    FROM (SELECT * FROM rewards WHERE experiment_id = :id ORDER BY received_at DESC LIMIT :most) r
    {decision_of("r")}
    """
)


def clocks(connection: Connection, experiment_id: int) -> Clocks:
    """Count the newest reports whose own time cannot be right. The time of receipt takes its place in every metric."""
    row = connection.execute(_CLOCKS, {"id": experiment_id, "most": NEWEST_REPORTS}).one()
    return Clocks(int(row.reports), int(row.impossible))
