"""How many decisions an imported one stands for, because the others were dropped before they were logged."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("ALTER TABLE decisions ADD COLUMN IF NOT EXISTS stands_for DOUBLE PRECISION")
