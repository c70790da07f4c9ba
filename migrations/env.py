"""Alembic's entry: runs on the connection that ``app.store.migrate`` hands over, in its transaction."""

from alembic import context

from app.store import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
context.run_migrations()
