"""Quarantine: decisions that are held out of training rounds, and whose they are."""

from alembic import op

revision = "0017"
down_revision = "0016"


# Reports can be read without what is held out for suspects: app.foundation.store.fragments.WITHOUT_HELD_OUT.
VIEW = """
    CREATE OR REPLACE VIEW analysed AS SELECT * FROM outcomes o
    WHERE NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = o.unit_id AND 'analyse' = ANY(r.denied))
      AND NOT EXISTS (
        SELECT FROM excluded_units x WHERE x.experiment_id = o.experiment_id AND x.unit_id = o.unit_id)
      AND ((SELECT current_setting('loopwise.held_out', true)) IS DISTINCT FROM 'without' OR NOT EXISTS (
        SELECT FROM held_out h WHERE h.experiment_id = o.experiment_id AND h.decision_id = o.decision_id
          AND h.suspect_id IS NOT NULL AND h.status = 'held'))
"""


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS held_out (
            experiment_id BIGINT NOT NULL,
            decision_id TEXT NOT NULL,
            arm TEXT NOT NULL,
            rule TEXT NOT NULL,
            suspect_id BIGINT,
            status TEXT NOT NULL,
            held_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (experiment_id, decision_id)
        )
        """
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS held_out_released ON held_out (experiment_id, arm) WHERE status = 'released'"
    )
    op.execute("CREATE INDEX IF NOT EXISTS held_out_suspect ON held_out (suspect_id)")
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS suspects (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            experiment_id BIGINT NOT NULL,
            rule TEXT NOT NULL,
            unit_id TEXT,
            key_id TEXT,
            since TIMESTAMPTZ,
            until TIMESTAMPTZ,
            status TEXT NOT NULL,
            why TEXT NOT NULL,
            actor TEXT NOT NULL,
            opened_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            decided_at TIMESTAMPTZ,
            receipt JSONB
        )
        """
    )
    op.execute("CREATE INDEX IF NOT EXISTS suspects_experiment ON suspects (experiment_id, status)")
    op.execute(VIEW)
