"""Brings a database to the newest schema. Alembic's scripts live in ``migrations/``."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.foundation.errors import Conflict
from app.foundation.running.log_errors import words_of
from app.foundation.store import partitions, views
from app.foundation.store.locks import Single, one_session_holds

SCRIPTS = Path(__file__).resolve().parents[3] / "migrations"


# What the application needs on no row that is stored. A superuser, as in the embedded server, may do everything all the same.
NEVER: Final = {
    "changes": "UPDATE, DELETE, TRUNCATE",
    "consents": "UPDATE, TRUNCATE",
    "experiment_configs": "UPDATE, DELETE, TRUNCATE",
    "log_anchors": "UPDATE, DELETE, TRUNCATE",
    "log_links": "DELETE, TRUNCATE",
    "privacy_ledger": "UPDATE, DELETE, TRUNCATE",
    "rewards": "UPDATE, TRUNCATE",
}


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every migration that the database has not seen; safe to call from several processes at once.

    :param revision: the last one to run.
    :raises Conflict: a migration failed, or the database is newer than these migrations.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    engine = create_engine(url, connect_args={"connect_timeout": 10, "options": "-c lock_timeout=60000"})
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    try:
        with one_session_holds(engine, Single.MIGRATION), engine.connect() as connection:
            config.attributes["connection"] = connection
            _append_only(connection, "GRANT", "TO")
            if _pending(connection, config):
                views.drop(connection)
                connection.commit()
            command.upgrade(config, revision)
            if revision == "head" and views.stale(connection):
                views.create(connection)
                connection.commit()
            _append_only(connection, "REVOKE", "FROM")
            if revision == "head":
                partitions.make_ahead(engine)
    except CommandError as error:
        raise Conflict(
            "migration_failed", f"These migrations do not fit the database, which may be newer: {error}."
        ) from error
    except SQLAlchemyError as error:
        raise Conflict(
            "migration_failed",
            f"A migration failed, and its step was undone: {words_of(error)}. Change that, and run `loopwise migrate` again.",
        ) from error
    finally:
        engine.dispose()


def _pending(connection: Connection, config: Config) -> bool:
    """Whether a migration is to be run."""
    at = MigrationContext.configure(connection).get_current_heads()
    return set(at) != set(ScriptDirectory.from_config(config).get_heads())


def _append_only(connection: Connection, verb: str, preposition: str) -> None:
    """Take the rights that nobody needs from the owner of the tables, or give them back to the next migrations."""
    tables = set(inspect(connection).get_table_names())
    for table, rights in NEVER.items():
        if table in tables:
            connection.execute(text(f"{verb} {rights} ON {table} {preposition} CURRENT_USER"))
    connection.commit()
