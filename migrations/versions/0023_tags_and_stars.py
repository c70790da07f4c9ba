"""Tags of experiments, and whose experiments a person has starred."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("ALTER TABLE experiments ADD COLUMN IF NOT EXISTS tags TEXT[] NOT NULL DEFAULT '{}'")
    op.execute(
        "CREATE TABLE IF NOT EXISTS stars (user_id BIGINT NOT NULL, experiment_id BIGINT NOT NULL, "
        "PRIMARY KEY (user_id, experiment_id))"
    )
