"""Alembic's entry: runs on the connection that ``app.foundation.store.migrate`` hands over, in its transaction."""

from alembic import context

from app.foundation.store import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
context.run_migrations()
