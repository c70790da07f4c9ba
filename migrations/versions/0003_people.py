"""People: users, their sessions, drafts of experiments; and the newest figures of each experiment for the pages."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE experiments ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
    """
    UPDATE experiments e SET owner = c.actor FROM changes c
    WHERE c.experiment_id = e.id AND c.kind IN ('experiment_created', 'log_imported')
    """,
    """
    CREATE TABLE users (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
        password_hash TEXT,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        disabled_at TIMESTAMP WITH TIME ZONE,
        signed_in_at TIMESTAMP WITH TIME ZONE
    )
    """,
    """
    CREATE TABLE sign_in_links (
        token_hash BYTEA PRIMARY KEY,
        user_id BIGINT,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL
    )
    """,
    """
    CREATE TABLE sessions (
        token_hash BYTEA PRIMARY KEY,
        user_id BIGINT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        used_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX sessions_user ON sessions (user_id)",
    """
    CREATE TABLE sign_in_failures (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name TEXT NOT NULL,
        address TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX sign_in_failures_at ON sign_in_failures (at)",
    """
    CREATE TABLE drafts (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        experiment_id BIGINT,
        base_version INTEGER,
        typed JSON NOT NULL,
        version INTEGER NOT NULL,
        created_by TEXT NOT NULL,
        updated_by TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE latest (
        experiment_id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        summary JSONB NOT NULL,
        body JSONB,
        seconds DOUBLE PRECISION NOT NULL,
        computed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (experiment_id, kind)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
