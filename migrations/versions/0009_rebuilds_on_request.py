"""When a person asked for a model to be learned again from its whole log."""

from alembic import op

from migrations import online

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        online.brief("ALTER TABLE lineages ADD COLUMN IF NOT EXISTS rebuild_asked_at TIMESTAMP WITH TIME ZONE")
