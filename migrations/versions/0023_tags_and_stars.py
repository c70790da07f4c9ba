"""Tags of experiments, the experiments that a person has starred, and the role of analysts."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("ALTER TABLE experiments ADD COLUMN IF NOT EXISTS tags TEXT[] NOT NULL DEFAULT '{}'")
    op.execute(
        "CREATE TABLE IF NOT EXISTS stars (user_id BIGINT NOT NULL, experiment_id BIGINT NOT NULL, "
        "PRIMARY KEY (user_id, experiment_id))"
    )
    op.execute(
        "ALTER TABLE users DROP CONSTRAINT IF EXISTS users_role_check, "
        "ADD CONSTRAINT users_role_check CHECK (role IN ('viewer', 'analyst', 'editor', 'admin'))"
    )
