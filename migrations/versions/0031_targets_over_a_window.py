"""The counts that a decision saw of its arms' targets over a window."""

from alembic import op

from migrations import online

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        online.brief("ALTER TABLE decisions ADD COLUMN IF NOT EXISTS counted JSON")
