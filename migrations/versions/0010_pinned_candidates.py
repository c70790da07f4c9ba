"""The candidate of a race that a person pinned in what runs."""

from alembic import op

from migrations import online

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        online.brief("ALTER TABLE lineages ADD COLUMN IF NOT EXISTS pinned TEXT")
