"""Reads what the life of an arm is told from: the shares that it had, and what each unit earned meanwhile."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import NOT_TRIAL


class Version(NamedTuple):
    """One version of the configuration, as far as one arm is concerned."""

    version: int
    created_at: datetime
    share: float | None  # null: it had no such arm
    shipped: bool


_VERSIONS = text(
    """
    SELECT version, created_at, (
        SELECT CAST(a->>'share' AS float8) FROM json_array_elements(config->'arms') a WHERE a->>'key' = :arm
    ) AS share, coalesce(config->'shipped'->>'arm' = :arm, false) AS shipped
    FROM experiment_configs WHERE experiment_id = :id ORDER BY version
    """
)
_EARNED = text(
    """
    SELECT o.arm, count(*) AS decisions, sum(o.reward) AS total FROM analysed o
    WHERE o.experiment_id = :id AND o.arm = ANY(:arms) AND o.config_version BETWEEN :first AND :last
    GROUP BY o.arm, o.unit_id
    """
)


class Earned(NamedTuple):
    """What one unit earned in one arm."""

    arm: str
    decisions: int
    total: float


def versions(connection: Connection, experiment_id: int, arm: str) -> list[Version]:
    """Every version of the configuration, oldest first."""
    return [Version._make(row) for row in connection.execute(_VERSIONS, {"id": experiment_id, "arm": arm})]


def earned(connection: Connection, experiment_id: int, arms: Sequence[str], first: int, last: int) -> list[Earned]:
    """What units earned in some arms under the configurations from one version to another."""
    values = {"id": experiment_id, "arms": list(arms), "first": first, "last": last}
    return [Earned._make(row) for row in connection.execute(_EARNED, values)]


def has_decided(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Whether an arm has made a decision."""
    query = f"SELECT EXISTS (SELECT FROM decisions WHERE experiment_id = :id AND arm = :arm AND {NOT_TRIAL})"
    return bool(connection.execute(text(query), {"id": experiment_id, "arm": arm}).scalar_one())
