"""Which arms are due for a challenger: after a change of the world, or by the calendar."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class Asked(NamedTuple):
    """What is asked of an arm."""

    since: datetime | None  # learn what was decided then or later; null: the whole log
    needed: int  # decisions since then that are needed
    changed: bool  # because the world changed; false: by the calendar


FIRST = 200  # decisions: half of them are scored, and bandits.challenge wants 100
MOST = 8  # times FIRST decisions after a change, at which the last challenger is tried

_WAITING = text(
    """
    SELECT g.experiment_id, g.arm FROM lineages g
    WHERE g.challenge_since IS NOT NULL AND (
        SELECT count(*) FROM outcomes o WHERE o.experiment_id = g.experiment_id AND o.arm = g.arm
          AND o.settled_at >= g.challenge_since AND o.decided_at >= g.challenge_since
    ) >= g.challenge_needed
    """
)
_SCHEDULED = text(
    """
    SELECT g.experiment_id, g.arm FROM lineages g
    JOIN experiments e ON e.id = g.experiment_id AND e.status = 'running'
    JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
    JOIN model_versions m ON m.id = g.serving_version_id
    CROSS JOIN LATERAL (SELECT coalesce((c.config->'safety'->>'challenge_every_s')::float8, :every_s) AS every_s) s
    WHERE coalesce((c.config->'safety'->>'challenge')::boolean, true) AND m.examples >= :least AND g.problem IS NULL
      AND g.challenge_since IS NULL
      AND coalesce(g.challenged_at, e.started_at) < clock_timestamp() - make_interval(secs => s.every_s)
    """
)


def due(connection: Connection, every_s: float) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm for which a challenger is due.

    :param every_s: between two by the calendar, where the experiment does not say.
    """
    waiting = [(row.experiment_id, row.arm) for row in connection.execute(_WAITING)]
    by_calendar = connection.execute(_SCHEDULED, {"every_s": every_s, "least": FIRST})
    return list(dict.fromkeys([*waiting, *((row.experiment_id, row.arm) for row in by_calendar)]))


def ask(connection: Connection, experiment_id: int, arm: str, since: datetime) -> bool:
    """Ask for a challenger that learns what was decided since a change; returns False if the arm does not learn."""
    query = """
        UPDATE lineages SET challenge_since = :since, challenge_needed = :needed
        WHERE experiment_id = :experiment_id AND arm = :arm
    """
    values = {"experiment_id": experiment_id, "arm": arm, "since": since, "needed": FIRST}
    return connection.execute(text(query), values).rowcount > 0


def asked(connection: Connection, experiment_id: int, arm: str) -> Asked:
    """Return what is asked of an arm."""
    query = "SELECT challenge_since, challenge_needed FROM lineages WHERE experiment_id = :experiment_id AND arm = :arm"
    row = connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).one()
    return Asked(row.challenge_since, row.challenge_needed or 0, row.challenge_since is not None)


def done(connection: Connection, experiment_id: int, arm: str, asked: Asked, *, won: bool) -> None:
    """Record that a challenger was tried. After a change it is tried again with twice as many decisions, some times."""
    again = asked.changed and not won and asked.needed < FIRST * MOST
    query = """
        UPDATE lineages SET challenged_at = clock_timestamp(),
            challenge_since = CASE WHEN :again THEN challenge_since END,
            challenge_needed = CASE WHEN :again THEN 2 * challenge_needed END
        WHERE experiment_id = :experiment_id AND arm = :arm
    """
    connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm, "again": again})
