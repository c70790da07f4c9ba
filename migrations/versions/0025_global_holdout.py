"""The global holdout: its versions, and which decisions it made; outcomes of its units are in no result."""

from alembic import op

from migrations import online

revision = "0025"
down_revision = "0024"

ALL = """
    CREATE OR REPLACE VIEW analysed_all AS SELECT * FROM outcomes o
    WHERE NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = o.unit_id AND 'analyse' = ANY(r.denied))
      AND NOT EXISTS (
        SELECT FROM excluded_units x WHERE x.experiment_id = o.experiment_id AND x.unit_id = o.unit_id)
      AND ((SELECT current_setting('loopwise.held_out', true)) IS DISTINCT FROM 'without' OR NOT EXISTS (
        SELECT FROM held_out h WHERE h.experiment_id = o.experiment_id AND h.decision_id = o.decision_id
          AND h.suspect_id IS NOT NULL AND h.status = 'held'))
"""
VIEW = ALL.replace("analysed_all", "analysed") + " AND NOT o.holdout"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS holdouts (
            version INTEGER PRIMARY KEY,
            share DOUBLE PRECISION NOT NULL,
            salt BYTEA NOT NULL,
            seal TEXT NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    with op.get_context().autocommit_block():
        online.brief(
            "ALTER TABLE decisions ADD COLUMN IF NOT EXISTS holdout_version INTEGER, ADD COLUMN IF NOT EXISTS holdout BOOLEAN"
        )
        online.brief("ALTER TABLE outcomes ADD COLUMN IF NOT EXISTS holdout BOOLEAN NOT NULL DEFAULT false", VIEW, ALL)
