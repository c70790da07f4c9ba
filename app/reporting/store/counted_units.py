"""The arm and the stretch of constant shares in which each unit was first seen: a temporary table for one computation."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import its_decision

SLICE = 20_000
NEVER = 1_000_000
"""The stretch at which a unit moves that never moves."""

# The version of a decision that was settled before outcomes held it is looked up.
_VERSION = (
    f"coalesce(o.config_version, (SELECT d.config_version FROM decisions d WHERE {its_decision('o', 'o.decided_at')}))"
)
STRETCH = f"width_bucket({_VERSION}, CAST(:first_versions AS int[])) - 1"


class FirstSeen(NamedTuple):
    """Where a unit was first seen."""

    unit_id: str
    arm: str
    stretch: int  # index


class Moved(NamedTuple):
    """A unit that a change of shares moves to another arm."""

    unit_id: str
    stretch: int  # index of the first stretch in which it has another arm


class MovedUnits(NamedTuple):
    """How many units moved to another arm."""

    units: int  # all units
    moved: int  # seen in more than one arm
    left_out: int  # moved by a change of shares, whether they were seen after it or not


_CREATE = text(
    f"""
    CREATE TEMPORARY TABLE counted_units ON COMMIT DROP AS
    WITH o AS (
        SELECT o.unit_id, o.arm, o.decided_at, o.decision_id, {STRETCH} AS stretch
        FROM analysed o WHERE o.experiment_id = :experiment_id
    ), first AS (
        SELECT DISTINCT ON (unit_id) unit_id, arm, stretch FROM o ORDER BY unit_id, decided_at, decision_id
    )
    SELECT f.unit_id, f.arm, f.stretch,
        coalesce(min(o.stretch) FILTER (WHERE o.arm <> f.arm), :never) AS seen_elsewhere,
        CAST(:never AS int) AS moved_at
    FROM first f JOIN o ON o.unit_id = f.unit_id GROUP BY f.unit_id, f.arm, f.stretch
    """
)


def create(connection: Connection, experiment_id: int, first_versions: Sequence[int]) -> None:
    """Make the table, until the transaction ends.

    :param first_versions: the first configuration of each stretch, ascending.
    """
    given = {"experiment_id": experiment_id, "first_versions": list(first_versions), "never": NEVER}
    connection.execute(text("DROP TABLE IF EXISTS pg_temp.counted_units"))
    connection.execute(_CREATE, given)


def first_seen(connection: Connection) -> Iterator[FirstSeen]:
    """Every unit that was first seen before the last change of shares."""
    query = "SELECT unit_id, arm, stretch FROM counted_units"
    rows = connection.execute(text(query).execution_options(stream_results=True, max_row_buffer=SLICE))
    for row in rows:
        yield FirstSeen(row.unit_id, row.arm, row.stretch)


_MARK = text(
    """
    UPDATE counted_units c SET moved_at = m.stretch
    FROM unnest(CAST(:units AS text[]), CAST(:stretches AS int[])) AS m (unit_id, stretch) WHERE c.unit_id = m.unit_id
    """
)


def mark_moved(connection: Connection, moved: Iterator[Moved]) -> None:
    """Note at which stretch units move; a unit that was seen in another arm before has moved then."""
    marks = list(moved)
    for part in (marks[first : first + SLICE] for first in range(0, len(marks), SLICE)):
        values = {"units": [unit.unit_id for unit in part], "stretches": [unit.stretch for unit in part]}
        connection.execute(_MARK, values)
    connection.execute(text("UPDATE counted_units SET moved_at = seen_elsewhere WHERE seen_elsewhere < moved_at"))
    connection.execute(text("ANALYZE counted_units"))


def count_moved(connection: Connection) -> MovedUnits:
    """Count the units, and those that were seen in more than one arm."""
    query = f"SELECT count(*) AS units, count(*) FILTER (WHERE seen_elsewhere < {NEVER}) AS moved, "
    query += f"count(*) FILTER (WHERE moved_at < {NEVER}) AS left_out FROM counted_units"
    row = connection.execute(text(query)).one()
    return MovedUnits(int(row.units), int(row.moved), int(row.left_out))
