"""Alembic's entry: runs on the connection that ``app.foundation.store.migrate`` hands over, a transaction for each script."""

from alembic import context

from app.foundation.store import tables

context.configure(
    connection=context.config.attributes["connection"], target_metadata=tables.metadata, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
