"""Imported decisions keep the distributions of all arms, so that an exported log is evaluated as its source is."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("ALTER TABLE decisions ADD COLUMN IF NOT EXISTS arm_distributions JSON")
