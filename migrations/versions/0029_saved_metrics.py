"""The library of metrics."""

from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS saved_metrics (
            key TEXT PRIMARY KEY,
            definition JSONB NOT NULL,
            version INTEGER NOT NULL,
            actor TEXT NOT NULL,
            saved_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
