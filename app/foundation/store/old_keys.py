"""What a migration kept for programs of before, which rely on it until they are restarted: unique indexes, and a trigger."""

from typing import Final

import psycopg2.errors
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

OLD_KEY: Final = "old_key"  # so ends the name of such an index; its comment says since when it is one
OLD_PROGRAMS: Final = "decisions_named"  # trigger, and its function: it goes with the key of the log's first partition
LOCK_WAIT_S: Final = 0.05
# Those of decisions go last: as long as they stand, no row belongs to a decision whose id another experiment has, too.
_DUE = text(
    """
    SELECT c.relname, i.indrelid::regclass::text AS of_table, n.conname IS NOT NULL AS is_constraint
    FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_constraint n ON n.conindid = c.oid
    WHERE c.relname LIKE :ends_in AND pg_table_is_visible(c.oid)
      AND CAST(obj_description(c.oid, 'pg_class') AS timestamptz) < clock_timestamp() - interval '1 hour'
    ORDER BY c.relname LIKE 'decisions%', c.relname
    """
)


def drop_due(engine: Engine) -> list[str]:
    """Drop those that are an hour old; returns their names.

    If something holds a table, the rest is left for the next call, because writers wait behind a statement that waits.
    """
    dropped: list[str] = []
    with engine.begin() as connection:
        due = connection.execute(_DUE, {"ends_in": rf"%\_{OLD_KEY}"}).all()
    for name, table, is_constraint in due:
        try:
            with engine.begin() as connection:
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))
                if is_constraint:  # the log's key of before: with it goes what kept ids for programs of before
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {OLD_PROGRAMS} ON decisions"))
                    connection.execute(text(f"DROP FUNCTION IF EXISTS {OLD_PROGRAMS}()"))
                    connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"))
                else:
                    connection.execute(text(f"DROP INDEX IF EXISTS {name}"))
        except OperationalError as error:
            if isinstance(error.orig, psycopg2.errors.LockNotAvailable):
                return dropped
            raise
        dropped.append(name)
    return dropped
