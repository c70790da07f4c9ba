"""What a person prefers; when an experiment begins and ends by itself; archived experiments."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS time_zone TEXT, ADD COLUMN IF NOT EXISTS theme TEXT")
    op.execute(
        "ALTER TABLE experiments ADD COLUMN IF NOT EXISTS archived_at TIMESTAMPTZ, "
        "ADD COLUMN IF NOT EXISTS starts_at TIMESTAMPTZ, ADD COLUMN IF NOT EXISTS ends_at TIMESTAMPTZ, "
        "ADD COLUMN IF NOT EXISTS ends_with TEXT, ADD COLUMN IF NOT EXISTS scheduled_by TEXT"
    )
