"""Logs of others: how many decisions an imported one stands for, and the ledger of warm starts."""

from alembic import op

from migrations import online

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE IF NOT EXISTS warm_lessons (experiment_id BIGINT NOT NULL, arm TEXT NOT NULL, "
        "position INTEGER NOT NULL, source_id BIGINT NOT NULL, decision_id TEXT NOT NULL, "
        "reward DOUBLE PRECISION NOT NULL, mixture DOUBLE PRECISION[] NOT NULL, "
        "PRIMARY KEY (experiment_id, arm, position))"
    )
    op.execute("CREATE INDEX IF NOT EXISTS warm_lessons_decision ON warm_lessons (source_id, decision_id)")
    with op.get_context().autocommit_block():
        online.brief("ALTER TABLE decisions ADD COLUMN IF NOT EXISTS stands_for DOUBLE PRECISION")
        online.brief("ALTER TABLE lineages ADD COLUMN IF NOT EXISTS warm_start JSONB")
