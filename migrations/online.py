"""Changes of large tables while decisions go on: no statement here holds a lock that stops writers for long.

Each step is a transaction by itself and safe to repeat, because a migration that was killed begins again from its start.
Use these inside ``with op.get_context().autocommit_block():``.
"""

import time

import psycopg2.errors
from alembic import op
from sqlalchemy import literal, select, text
from sqlalchemy import table as table_named
from sqlalchemy.exc import OperationalError

from app.foundation.store.old_keys import OLD_KEY

LOCK_WAIT_S = (
    1.0  # a statement that waits for its lock makes every later one wait behind it: so it gives up and comes back
)
PAUSE_S = 0.5
PATIENCE_S = 600.0


def brief(*statements: str) -> None:
    """Run statements that need a table alone for a moment, in one transaction; wait for the moment without blocking others.

    :raises OperationalError: something held the table for longer than ``PATIENCE_S``.
    """
    connection = op.get_bind()
    body = "; ".join(statements)
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute(text(f"BEGIN; SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'; {body}; COMMIT"))
        except OperationalError as error:
            connection.execute(text("ROLLBACK"))
            if not isinstance(error.orig, psycopg2.errors.LockNotAvailable) or time.monotonic() > ends_at:
                raise
            time.sleep(PAUSE_S)
        else:
            return


def create_index(name: str, definition: str, *, unique: bool = False) -> None:
    """Build an index beside the writers.

    :param definition: what follows ON, such as ``decisions (unit_id, decided_at)``.
    """
    connection = op.get_bind()
    half_built = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
    if connection.execute(text(half_built), {"name": name}).first():  # by a migration that was killed
        connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
    kind = "UNIQUE INDEX" if unique else "INDEX"
    connection.execute(text(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {definition}"))


def replace_index(name: str, definition: str) -> None:
    """Build another index under the name of an old one, which serves until the new one is ready."""
    new = f"{name}_new"
    connection = op.get_bind()
    built = connection.execute(text("SELECT pg_get_indexdef(to_regclass(:name))"), {"name": name}).scalar()
    if built is not None and str(built).endswith(f"btree {definition.partition(' ')[2]}"):
        return  # done by a migration that was killed afterwards
    create_index(new, definition)
    brief(f"DROP INDEX IF EXISTS {name}", f"ALTER INDEX {new} RENAME TO {name}")


def replace_primary_key(table: str, columns: str) -> None:
    """Give a table another primary key: its index is built beside the writers, and the keys are swapped in a moment.

    :param columns: of the new key, with commas; each is NOT NULL already.
    """
    name, new = f"{table}_pkey", f"{table}_pkey_new"
    connection = op.get_bind()
    current = """
        SELECT string_agg(a.attname, ', ' ORDER BY k.place) FROM pg_constraint c
        CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
        WHERE c.conrelid = to_regclass(:table) AND c.contype = 'p'
    """
    if connection.execute(text(current), {"table": table}).scalar() == columns:
        return
    create_index(new, f"{table} ({columns})", unique=True)
    brief(
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY USING INDEX {new}",
    )


def replace_unique_key(table: str, old: str, new: str, columns: str) -> None:
    """Give a table another unique constraint in place of an old one, as ``replace_primary_key`` does."""
    connection = op.get_bind()
    made = "SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(:table) AND conname = :name"
    if connection.execute(text(made), {"table": table, "name": new}).first():
        return
    create_index(new, f"{table} ({columns})", unique=True)
    brief(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {old}",
        f"ALTER TABLE {table} ADD CONSTRAINT {new} UNIQUE USING INDEX {new}",
    )


def keep_unique(table: str, columns: str) -> None:
    """Keep the columns of a key that is replaced unique for programs of before, which rely on it until they are restarted.

    ``app.foundation.store.old_keys`` ends it. An empty table has no such programs.
    """
    connection = op.get_bind()
    if connection.execute(select(literal(1)).select_from(table_named(table)).limit(1)).first() is None:
        return
    name = f"{table}_{OLD_KEY}"
    create_index(name, f"{table} ({columns})", unique=True)
    comment = "SELECT format('COMMENT ON INDEX %I IS %L', CAST(:name AS text), clock_timestamp())"
    connection.execute(text(connection.execute(text(comment), {"name": name}).scalar_one()))
