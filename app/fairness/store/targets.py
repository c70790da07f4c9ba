"""Reads the window of an arm: which actions its newest decisions could draw, and which they drew."""

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, text

from app.deciding.store.counts import KIND

_DUE = text(
    """
    SELECT e.key FROM experiments e
    JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
    LEFT JOIN latest l ON l.experiment_id = e.id AND l.kind = :kind
    WHERE e.status = 'running'
      AND EXISTS (SELECT FROM json_array_elements(c.config->'arms') a, LATERAL (SELECT a->'policy'->'exposure' AS bounds) x
          WHERE x.bounds->>'window' IS NOT NULL OR x.bounds->>'window_s' IS NOT NULL)
      AND (l.computed_at IS NULL OR l.computed_at < clock_timestamp() - make_interval(secs => :factor * l.seconds))
    ORDER BY l.computed_at NULLS FIRST
    """
)
# Decisions of the arm's own policy that count: not those of its name for people in the holdout or without consent, and no trials.
_WINDOW = text(
    """
    SELECT actions, eligible, chosen, count(*)::int AS decisions,
        max(extract(epoch FROM clock_timestamp() - decided_at))::float8 AS age_s
    FROM (
        SELECT d.actions::text AS actions, d.eligible, d.chosen, d.decided_at FROM decisions d
        WHERE d.experiment_id = :id AND d.arm = :arm AND d.state = 'active' AND d.holdout IS NULL
          AND NOT coalesce('personalise' = ANY(d.withheld), false)
          AND d.decided_at > clock_timestamp() - make_interval(secs => :window_s)
        ORDER BY d.decided_at DESC LIMIT :most
    ) d GROUP BY 1, 2, 3
    """
)


class WindowRow(NamedTuple):
    """Decisions of a window that could draw the same actions and drew the same one."""

    actions: str | None  # JSON of the call's own candidates; null: those of the configuration
    eligible: list[str]
    chosen: int
    decisions: int
    age_s: float  # of the oldest one


def due(connection: Connection, factor: float) -> list[str]:
    """Keys of the running experiments with a target over a window, the oldest counts first.

    :param factor: at most one part in so many of a worker's time goes into one experiment's counts.
    """
    return list(connection.execute(_DUE, {"kind": KIND, "factor": factor}).scalars())


def window(connection: Connection, experiment_id: int, arm: str, most: int, window_s: float) -> Iterator[WindowRow]:
    """The newest decisions of an arm, ``most`` at most, that are at most so many seconds old."""
    given: dict[str, JsonValue] = {"id": experiment_id, "arm": arm, "most": most, "window_s": window_s}
    yield from map(WindowRow._make, connection.execute(_WINDOW, given))
