"""Reads when arms were apprentices, from the versions of a configuration."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

_TURNS = text(
    """
    SELECT a->>'key' AS arm, c.version, c.created_at, coalesce(CAST(a->>'apprentice' AS boolean), false) AS apprentice
    FROM experiment_configs c CROSS JOIN LATERAL json_array_elements(c.config->'arms') a
    WHERE c.experiment_id = :id ORDER BY c.version
    """
)


class Stretch(NamedTuple):
    """A time in which an arm was an apprentice."""

    arm: str
    since: datetime
    versions: frozenset[int]  # of the configuration
    until: datetime | None  # when it was switched on; null: it still is one


def newest_stretches(connection: Connection, experiment_id: int) -> list[Stretch]:
    """The newest stretch of each arm that is or was an apprentice, in the order of the arms."""
    stretches: dict[str, Stretch] = {}
    for arm, version, at, apprentice in connection.execute(_TURNS, {"id": experiment_id}):
        known = stretches.get(arm)
        goes_on = known is not None and known.until is None
        if apprentice and known is not None and goes_on:
            stretches[arm] = known._replace(versions=known.versions | {version})
        elif apprentice:
            stretches[arm] = Stretch(arm, at, frozenset({version}), None)
        elif known is not None and goes_on:
            stretches[arm] = known._replace(until=at)
    return list(stretches.values())
