"""What a comparison needs of each outcome: the shares it was assigned under, and when its windows opened; units left out."""

from alembic import op

from migrations import online

revision = "0008"
down_revision = "0007"

VIEW = """
    CREATE OR REPLACE VIEW analysed AS SELECT * FROM outcomes o
    WHERE NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = o.unit_id AND 'analyse' = ANY(r.denied))
      AND NOT EXISTS (
        SELECT FROM excluded_units x WHERE x.experiment_id = o.experiment_id AND x.unit_id = o.unit_id)
"""


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS excluded_units (
            experiment_id BIGINT NOT NULL,
            unit_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            actor TEXT NOT NULL,
            excluded_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (experiment_id, unit_id)
        )
        """
    )
    with op.get_context().autocommit_block():
        # Outcomes of before have neither: a report then looks the version up, and takes the time of the decision.
        online.brief(
            "ALTER TABLE outcomes ADD COLUMN IF NOT EXISTS config_version INTEGER, "
            "ADD COLUMN IF NOT EXISTS opened_at TIMESTAMP WITH TIME ZONE",
            VIEW,
        )
