"""The partitions of the log by time: each month of decisions has a table of its own.

``decisions_early`` holds what was decided before the first month, ``decisions_default`` what no other partition takes: a clock
that steps far ahead loses no decision. The worker makes the partitions of the next months ahead of time.
"""

from datetime import datetime
from typing import Final, NamedTuple

import psycopg2.errors
import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from app.foundation.store.engine import transaction
from app.foundation.store.locks import Kind, hold

EARLY: Final = "decisions_early"
DEFAULT: Final = "decisions_default"
NAME: Final = "partitions"  # of the lock under which one process at a time changes them
AHEAD: Final = 1  # months after this one: the worker would have to be away for all of it
LOCK_WAIT_S: Final = 0.05  # writers wait behind a statement that waits for its lock
MOST_MOVED: Final = 20_000  # rows of the default partition that move into a new one while writers wait
log = structlog.get_logger()

LIKE: Final = "LIKE decisions INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION"


class Month(NamedTuple):
    """A month that has no partition yet."""

    name: str
    start: datetime
    end: datetime
    in_default: int  # rows in the default partition; at most one more than can move


# Where each partition begins and ends, but for the default one; it begins at null if that is the beginning of time.
BOUNDS: Final = """
    SELECT c.relname AS name, substring(bound FROM 'FROM \\(''([^'']+)''\\)')::timestamptz AS starts,
        substring(bound FROM 'TO \\(''([^'']+)''\\)')::timestamptz AS ends
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS bound
    WHERE i.inhparent = to_regclass('decisions') AND bound <> 'DEFAULT'
"""
_MISSING = text(
    f"""
    WITH bounds AS ({BOUNDS}
    ), months AS (
        SELECT start, start + interval '1 month' AS "end"
        FROM date_trunc('month', clock_timestamp(), 'UTC') AS this, generate_series(0, :ahead) AS n
        CROSS JOIN LATERAL (SELECT (this AT TIME ZONE 'UTC' + make_interval(months => n)) AT TIME ZONE 'UTC' AS start) s
    )
    SELECT to_char(start AT TIME ZONE 'UTC', '"decisions_"YYYY_MM') AS name, start, "end", (
        SELECT count(*) FROM (SELECT FROM {DEFAULT} WHERE decided_at >= start AND decided_at < "end" LIMIT :most) d
    ) AS in_default
    FROM months m WHERE NOT EXISTS (
        SELECT FROM bounds b WHERE m.start < b.ends AND m."end" > coalesce(b.starts, '-infinity'))
    ORDER BY start
    """
)


def make_ahead(engine: Engine) -> list[str]:
    """Make the partitions of this month and of the next ones that are missing; returns their names.

    If something holds the default partition for long, the rest is left for the next call. So is a month of which the default
    partition has more rows than can move in a moment: they stay there.
    """
    made: list[str] = []
    with transaction(engine) as connection:
        hold(connection, Kind.ALONE, NAME)
        for month in _missing(connection):
            if month.in_default > MOST_MOVED:
                log.warning("partition_full", partition=DEFAULT, month=month.name)
            elif _make(connection, month):
                made.append(month.name)
    return made


def _missing(connection: Connection) -> list[Month]:
    rows = connection.execute(_MISSING, {"ahead": AHEAD, "most": MOST_MOVED + 1})
    return [Month._make(row) for row in rows]


def _make(connection: Connection, month: Month) -> bool:
    """Make one partition, with the rows of its month that the default partition has; False: something holds that."""
    low, high = month.start.isoformat(), month.end.isoformat()
    return briefly(
        connection,
        f"LOCK TABLE {DEFAULT} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {month.name} ({LIKE})",
        f"WITH moved AS (DELETE FROM {DEFAULT} WHERE decided_at >= '{low}' AND decided_at < '{high}' RETURNING *) "
        f"INSERT INTO {month.name} SELECT * FROM moved",
        f"ALTER TABLE decisions ATTACH PARTITION {month.name} FOR VALUES FROM ('{low}') TO ('{high}')",
    )


def briefly(connection: Connection, *statements: str) -> bool:
    """Run statements that need a partition of the log alone for a moment; False: somebody else has it, and nothing was done."""
    try:
        with connection.begin_nested():
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))
            for statement in statements:
                connection.execute(text(statement))
    except OperationalError as error:
        if not isinstance(error.orig, psycopg2.errors.LockNotAvailable):
            raise
        log.warning("partition_waits")
        return False
    return True


_GROWN = text(
    """
    SELECT coalesce(sum(pg_stat_get_live_tuples(i.inhrelid)), 0) > 1000 + 1.2 * greatest(p.reltuples, 0)
    FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid WHERE p.oid = to_regclass('decisions') GROUP BY p.reltuples
    """
)


def sample_grown(engine: Engine) -> bool:
    """Let PostgreSQL sample the whole log once it has grown by a fifth; returns whether it had.

    It does so by itself for each partition alone, while joins are planned with what it knows of the whole.
    """
    with transaction(engine) as connection:
        grown = bool(connection.execute(_GROWN).scalar_one())
        if grown:
            connection.execute(text("ANALYZE (SKIP_LOCKED) decisions"))
    return grown
