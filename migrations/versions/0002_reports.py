"""Reports that are computed beforehand, stored candidate policies, and their evaluations."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    CREATE TABLE reports (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        experiment_id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        segment TEXT,
        body JSONB NOT NULL,
        seconds DOUBLE PRECISION NOT NULL,
        computed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX reports_newest ON reports (experiment_id, kind, segment, id)",
    """
    CREATE TABLE evaluations (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        experiment_id BIGINT NOT NULL,
        request JSONB NOT NULL,
        status TEXT NOT NULL,
        progress DOUBLE PRECISION NOT NULL,
        result JSONB,
        error TEXT,
        actor TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        started_at TIMESTAMP WITH TIME ZONE,
        finished_at TIMESTAMP WITH TIME ZONE
    )
    """,
    "CREATE INDEX evaluations_waiting ON evaluations (status, id)",
    "CREATE INDEX evaluations_experiment ON evaluations (experiment_id, id)",
    """
    CREATE TABLE candidates (
        experiment_id BIGINT NOT NULL,
        key TEXT NOT NULL,
        definition JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (experiment_id, key)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
