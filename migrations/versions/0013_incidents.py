"""Incidents: what was noticed to go wrong, and what was done about it."""

from alembic import op

revision = "0013"
down_revision = "0011"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS incidents (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            experiment_id BIGINT NOT NULL,
            arm TEXT NOT NULL,
            kind TEXT NOT NULL,
            began_at TIMESTAMPTZ NOT NULL,
            opened_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            closed_at TIMESTAMPTZ,
            evidence JSONB NOT NULL,
            actions JSONB NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX IF NOT EXISTS incidents_experiment ON incidents (experiment_id, id)")
