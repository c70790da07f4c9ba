"""Reads the newest decisions that are settled in every arm, through the index of times: the work is bounded on any log."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from app.foundation.store.fragments import ABOVE, ITS_OUTCOME, KNOWN_CHANCES, NOT_TRIAL, decision_of
from app.off_policy.store.evaluations import LoggedRow

# The first line of each arm by the end of its window: all earlier decisions are settled, in this arm and in the others.
_COMPLETE_UNTIL = text(
    f"""
    SELECT min(d.decided_at) FROM unnest(CAST(:arms AS text[])) AS own (arm)
    CROSS JOIN LATERAL (
        SELECT a.decision_id, a.experiment_id FROM awaiting_outcome a
        WHERE a.experiment_id = :experiment_id AND a.arm = own.arm ORDER BY a.closes_at LIMIT 1
    ) first {decision_of("first")}
    """
)
_NEWEST = text(
    f"""
    SELECT d.id, d.arm, d.unit_id, d.config_version, d.policy_version, d.actions, d.eligible,
        {KNOWN_CHANCES} AS distribution, d.chosen, d.propensity, d.context, o.reward, d.decided_at,
        d.arm_distributions, {ABOVE} AS above, true AS learns, NULL AS stands_for, d.counted
    FROM (
        SELECT * FROM decisions WHERE experiment_id = :experiment_id
            AND decided_at < coalesce(CAST(:until AS timestamptz), 'infinity') AND {NOT_TRIAL}
        ORDER BY decided_at DESC LIMIT :most
    ) d JOIN analysed o ON {ITS_OUTCOME}
    ORDER BY d.decided_at, d.id
    """
)
_SIZE = text("SELECT count(*) FROM (SELECT FROM decisions WHERE experiment_id = :experiment_id LIMIT :most) d")


def complete_until(connection: Connection, experiment_id: int, arms: Sequence[str]) -> datetime | None:
    """Time of the oldest decision whose outcome is not settled; null when none waits.

    Arms are settled one after the other, so later decisions would make an arm that waits look as if it were chosen less.
    """
    row = connection.execute(_COMPLETE_UNTIL, {"experiment_id": experiment_id, "arms": list(arms)})
    newest: datetime | None = row.scalar_one()
    return newest


def newest(connection: Connection, experiment_id: int, most: int, until: datetime | None) -> list[LoggedRow]:
    """The settled ones among the newest ``most`` decisions before a time, oldest first."""
    given = {"experiment_id": experiment_id, "most": most, "until": until}
    return [LoggedRow(*row) for row in connection.execute(_NEWEST, given)]


def is_small(connection: Connection, experiment_id: int, most: int) -> bool:
    """True when the log has at most ``most`` decisions."""
    count = connection.execute(_SIZE, {"experiment_id": experiment_id, "most": most + 1}).scalar_one()
    return int(count) <= most
