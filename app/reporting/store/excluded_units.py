"""Units that are left out of every report of an experiment: the view ``analysed`` does not have their outcomes."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

BY_RULE = "rule"
"""The actor of units that the experiment's own rule leaves out."""


class ExcludedUnit(NamedTuple):
    """One unit that is left out."""

    unit_id: str
    reason: str
    actor: str
    excluded_at: datetime


_ADD = text(
    """
    INSERT INTO excluded_units (experiment_id, unit_id, reason, actor)
    SELECT DISTINCT :experiment_id, unit_id, :reason, :actor FROM unnest(CAST(:units AS text[])) AS u (unit_id)
    ON CONFLICT (experiment_id, unit_id) DO UPDATE SET reason = excluded.reason, actor = excluded.actor,
        excluded_at = clock_timestamp() WHERE excluded_units.actor = :by_rule
    RETURNING unit_id
    """
)


def add(connection: Connection, experiment_id: int, units: list[str], reason: str, actor: str) -> list[str]:
    """Leave units out; returns those that somebody had not left out before."""
    given = {"experiment_id": experiment_id, "units": units, "reason": reason, "actor": actor, "by_rule": BY_RULE}
    return sorted(connection.execute(_ADD, given).scalars())


def remove(connection: Connection, experiment_id: int, units: list[str]) -> list[str]:
    """Take units back; returns those that were left out."""
    query = "DELETE FROM excluded_units WHERE experiment_id = :id AND unit_id = ANY(:units) RETURNING unit_id"
    return sorted(connection.execute(text(query), {"id": experiment_id, "units": units}).scalars())


def listed(connection: Connection, experiment_id: int, most: int) -> list[ExcludedUnit]:
    """The units that are left out, newest first."""
    query = """
        SELECT unit_id, reason, actor, excluded_at FROM excluded_units
        WHERE experiment_id = :id ORDER BY excluded_at DESC, unit_id LIMIT :most
    """
    rows = connection.execute(text(query), {"id": experiment_id, "most": most})
    return [ExcludedUnit(**row._asdict()) for row in rows]


def count(connection: Connection, experiment_id: int) -> int:
    """How many units are left out."""
    query = "SELECT count(*) FROM excluded_units WHERE experiment_id = :id"
    return int(connection.execute(text(query), {"id": experiment_id}).scalar_one())


_APPLY = text(
    """
    WITH heavy AS (
        SELECT DISTINCT unit_id FROM (
            SELECT unit_id FROM outcomes WHERE experiment_id = :experiment_id
            GROUP BY unit_id, date_trunc('day', decided_at AT TIME ZONE 'UTC') HAVING count(*) > :most
        ) days
    ), freed AS (
        DELETE FROM excluded_units x WHERE x.experiment_id = :experiment_id AND x.actor = :by_rule
            AND NOT EXISTS (SELECT FROM heavy h WHERE h.unit_id = x.unit_id)
    )
    INSERT INTO excluded_units (experiment_id, unit_id, reason, actor)
    SELECT :experiment_id, unit_id, :reason, :by_rule FROM heavy ON CONFLICT (experiment_id, unit_id) DO NOTHING
    """
)
_FREE = text("DELETE FROM excluded_units WHERE experiment_id = :experiment_id AND actor = :by_rule")


def apply_rule(connection: Connection, experiment_id: int, most_per_day: int | None, reason: str) -> None:
    """Leave out the units with more settled decisions than that on a day (UTC), and no others by rule."""
    if most_per_day is None:
        connection.execute(_FREE, {"experiment_id": experiment_id, "by_rule": BY_RULE})
        return
    given = {"experiment_id": experiment_id, "most": most_per_day, "reason": reason, "by_rule": BY_RULE}
    connection.execute(_APPLY, given)
