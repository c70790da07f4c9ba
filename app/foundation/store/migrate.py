"""Brings a database to the newest schema. Alembic's scripts live in ``migrations/``."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

SCRIPTS = Path(__file__).resolve().parents[3] / "migrations"
MIGRATION_LOCK = 7_205_759_403  # any constant: two processes that migrate at once must take turns


def upgrade(database_url: str) -> None:
    """Run every migration that the database has not seen; safe to call from several processes at once."""
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    engine = create_engine(url, connect_args={"connect_timeout": 10, "options": "-c lock_timeout=60000"})
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
