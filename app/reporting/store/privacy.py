"""Reads bounded sums over units for reports with differential privacy, and keeps the ledger of spent budget."""

from datetime import datetime
from typing import NamedTuple

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection, text

from app.foundation.store.locks import Kind, hold


class ArmTotal(NamedTuple):
    """Sums over the units of one arm, each unit with the mean of its rewards."""

    arm: str
    units: int
    points: int  # sum of the units' means, each rounded to whole points and clipped to the bounds


class Spent(NamedTuple):
    """One report that was given."""

    id: int
    epsilon: float
    report: dict[str, JsonValue]
    actor: str
    at: datetime


_TOTALS = text(
    """
    WITH units AS (
        SELECT unit_id, (array_agg(arm ORDER BY decided_at, decision_id))[1] AS arm, avg(reward) AS mean
        FROM analysed WHERE experiment_id = :id GROUP BY unit_id
    )
    SELECT arm, count(*) AS units,
        sum(least(greatest(round((mean - :low) / (:high - :low) * :points), 0), :points))::bigint AS points
    FROM units GROUP BY arm ORDER BY arm
    """
)


def totals(connection: Connection, experiment_id: int, low: float, high: float, points: int) -> list[ArmTotal]:
    """Each arm's units and the sum of their points: 0 at ``low``, ``points`` at ``high``.

    A unit belongs to the arm of its first decision.
    """
    values = {"id": experiment_id, "low": low, "high": high, "points": points}
    return [ArmTotal(row.arm, row.units, row.points) for row in connection.execute(_TOTALS, values)]


def spent(connection: Connection, experiment_id: int) -> list[Spent]:
    """Every report of an experiment, newest first."""
    query = "SELECT id, epsilon, report, actor, at FROM privacy_ledger WHERE experiment_id = :id ORDER BY id DESC"
    return [Spent(**row._asdict()) for row in connection.execute(text(query), {"id": experiment_id})]


def spent_by_experiment(connection: Connection) -> dict[str, float]:
    """By experiment, the sum of the epsilons of its reports; experiments without one are missing."""
    query = """
        SELECT e.key, sum(p.epsilon)::float8 AS epsilon FROM privacy_ledger p JOIN experiments e ON e.id = p.experiment_id
        GROUP BY e.key
    """
    return {row.key: row.epsilon for row in connection.execute(text(query))}


def lock(connection: Connection, experiment_id: int) -> None:
    """Allow only one report of an experiment at a time, so that two cannot spend the same budget."""
    hold(connection, Kind.PRIVACY_BUDGET, str(experiment_id))


def add(connection: Connection, experiment_id: int, epsilon: float, report: dict[str, JsonValue], actor: str) -> None:
    """Store a report and the epsilon that it spent."""
    query = "INSERT INTO privacy_ledger (experiment_id, epsilon, report, actor) VALUES (:id, :epsilon, :report, :actor)"
    values = {"id": experiment_id, "epsilon": epsilon, "report": orjson.dumps(report).decode(), "actor": actor}
    connection.execute(text(query), values)
