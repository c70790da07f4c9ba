"""The filters of the list of experiments that a person has saved."""

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE IF NOT EXISTS saved_filters (user_id BIGINT NOT NULL, name TEXT NOT NULL, filter JSON NOT NULL, "
        "PRIMARY KEY (user_id, name))"
    )
