"""Reads what was decided about experiments: from the trail of changes, with what was known then."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

KINDS = ("shipped", "rolled_back", "experiment_conclude", "arm_stopped", "holdout_changed", "note")


class Decided(NamedTuple):
    """One thing that somebody decided, or noted."""

    id: int
    at: datetime
    actor: str
    kind: str
    experiment: str | None  # key; null: it concerns the platform
    name: str
    hypothesis: str
    arm: str | None  # that was shipped or stopped
    reason: str
    verdict: str | None  # of the decision rule, in the newest results
    metric: str | None  # that decides
    lift: float | None  # of the best arm on it
    lift_low: float | None
    lift_high: float | None


_NEWEST = text(
    """
    SELECT c.id, c.at, c.actor, c.kind, e.key AS experiment, coalesce(g.config->>'name', '') AS name,
        coalesce(g.config->>'hypothesis', '') AS hypothesis, c.after->>'arm' AS arm,
        coalesce(c.reason, CASE WHEN c.kind = 'experiment_conclude' THEN e.conclusion END, '') AS reason,
        l.summary->>'verdict' AS verdict, l.summary->>'metric' AS metric, (l.summary->>'lift')::float8 AS lift,
        (l.summary->'lift_interval'->>'low')::float8 AS lift_low, (l.summary->'lift_interval'->>'high')::float8 AS lift_high
    FROM changes c LEFT JOIN experiments e ON e.id = c.experiment_id
    LEFT JOIN experiment_configs g ON g.experiment_id = e.id AND g.version = e.config_version
    LEFT JOIN latest l ON l.experiment_id = e.id AND l.kind = 'results'
    WHERE c.kind = ANY(:kinds) AND (CAST(:experiment AS text) IS NULL OR e.key = :experiment)
    ORDER BY c.id DESC LIMIT :most
    """
)


def newest(connection: Connection, experiment: str | None, most: int) -> list[Decided]:
    """The newest decisions, of one experiment or of all."""
    values = {"kinds": [*KINDS], "experiment": experiment, "most": most}
    return [Decided(**row._asdict()) for row in connection.execute(_NEWEST, values)]
