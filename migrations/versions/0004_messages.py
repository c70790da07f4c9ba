"""Messages: what was said is part of the decision."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE decisions ADD COLUMN message JSON")
