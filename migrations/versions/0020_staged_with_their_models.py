"""Staged candidates: the distributions that their models learned with, and those that wait for the worker."""

from alembic import op

from migrations import online

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        online.brief("ALTER TABLE training_ledger ADD COLUMN IF NOT EXISTS mixture DOUBLE PRECISION[]")
        online.brief("ALTER TABLE candidates ADD COLUMN IF NOT EXISTS staging JSONB")
