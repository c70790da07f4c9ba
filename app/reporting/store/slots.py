"""Sums the newest settled decisions by arm, position of their list, action and unit; the work is bounded on any log."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME, LATER_POSITION, NOT_TRIAL

_POSITIONS = text(
    f"""
    SELECT d.arm, coalesce({LATER_POSITION}, 1) AS position, d.eligible[d.chosen + 1] AS action, d.unit_id,
        count(*)::int AS shown, sum(o.reward) AS reward, (count(*) FILTER (WHERE o.events > 0))::int AS reported
    FROM (
        SELECT id, experiment_id, arm, context, eligible, chosen, unit_id, decided_at FROM decisions
        WHERE experiment_id = :experiment_id
            AND decided_at < coalesce(CAST(:until AS timestamptz), 'infinity') AND {NOT_TRIAL}
        ORDER BY decided_at DESC LIMIT :most
    ) d JOIN analysed o ON {ITS_OUTCOME}
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    """
)


class Shown(NamedTuple):
    """One unit's settled decisions with an action at a position."""

    arm: str
    position: int
    action: str
    unit_id: str
    shown: int
    reward: float  # sum
    reported: int  # of them, those with a report


def positions(connection: Connection, experiment_id: int, most: int, until: datetime | None) -> list[Shown]:
    """The settled ones among the newest ``most`` decisions before a time."""
    given = {"experiment_id": experiment_id, "most": most, "until": until}
    return [Shown(*row) for row in connection.execute(_POSITIONS, given)]
