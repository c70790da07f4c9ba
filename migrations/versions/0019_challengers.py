"""Challengers of models: what is asked for, and when the newest was tried."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE lineages ADD COLUMN IF NOT EXISTS challenge_since TIMESTAMPTZ, "
        "ADD COLUMN IF NOT EXISTS challenge_needed INTEGER, ADD COLUMN IF NOT EXISTS challenged_at TIMESTAMPTZ"
    )
