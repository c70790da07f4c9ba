"""What failed and when it is tried again; versions of triggers and webhooks; webhooks that do not answer."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    *(
        f"ALTER TABLE {table} ADD COLUMN failures INTEGER NOT NULL DEFAULT 0, ADD COLUMN problem TEXT, "
        "ADD COLUMN retry_at TIMESTAMP WITH TIME ZONE"
        for table in ("feedback_schemas", "erasures")
    ),
    *(f"ALTER TABLE {table} ADD COLUMN version INTEGER NOT NULL DEFAULT 1" for table in ("triggers", "webhooks")),
    "ALTER TABLE webhooks ADD COLUMN silent_since TIMESTAMP WITH TIME ZONE, ADD COLUMN retry_at TIMESTAMP WITH TIME ZONE",
    "DROP INDEX deliveries_due",
    """
    CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, id)
    WHERE status = 'waiting' AND webhook_id IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
