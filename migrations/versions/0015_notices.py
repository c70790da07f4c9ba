"""Notices, their receivers, and the messages to them."""

from alembic import op

revision = "0015"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS notices (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            experiment_id BIGINT NOT NULL,
            topic TEXT NOT NULL,
            condition TEXT NOT NULL,
            text TEXT NOT NULL,
            began_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            gone_since TIMESTAMPTZ,
            ended_at TIMESTAMPTZ
        )
        """
    )
    op.execute("CREATE INDEX IF NOT EXISTS notices_condition ON notices (experiment_id, condition)")
    op.execute(
        "CREATE UNIQUE INDEX IF NOT EXISTS notices_open ON notices (experiment_id, condition) WHERE ended_at IS NULL"
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS notice_receivers (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            webhook TEXT,
            email TEXT,
            form TEXT NOT NULL,
            topics JSONB NOT NULL,
            experiments JSONB NOT NULL,
            person TEXT,
            quiet_from TEXT,
            quiet_until TEXT,
            time_zone TEXT NOT NULL,
            status TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS notice_messages (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            notice_id BIGINT NOT NULL,
            receiver_id BIGINT NOT NULL,
            state TEXT NOT NULL,
            status TEXT NOT NULL DEFAULT 'waiting',
            attempts INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            next_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            finished_at TIMESTAMPTZ,
            UNIQUE (notice_id, receiver_id, state)
        )
        """
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS notice_messages_waiting ON notice_messages (receiver_id, id) "
        "WHERE status = 'waiting'"
    )
