"""What somebody asked to start, change or ship, and what a second person said to it."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE IF NOT EXISTS approvals (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "experiment_id BIGINT NOT NULL, action TEXT NOT NULL, document JSON NOT NULL, config_version INTEGER NOT NULL, "
        "asked_by TEXT NOT NULL, asked_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), "
        "decided_by TEXT, decided_at TIMESTAMPTZ, "
        "approved BOOLEAN)"
    )
    op.execute(
        "CREATE UNIQUE INDEX IF NOT EXISTS approvals_open ON approvals (experiment_id, action) WHERE decided_at IS NULL"
    )
