"""Keys whose calls are trials: their decisions are logged, and count nowhere."""

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS test BOOLEAN NOT NULL DEFAULT false")
