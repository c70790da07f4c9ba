"""Feedback, consent and erasure; events, triggers and deliveries; what a decision owes to its unit's state."""

from alembic import op

from migrations import online

revision = "0005"
down_revision = "0004"

COLUMNS = (  # of the log's large tables; none of them rewrites its table
    "ALTER TABLE decisions ADD COLUMN IF NOT EXISTS channel TEXT, ADD COLUMN IF NOT EXISTS withheld TEXT[], "
    "ADD COLUMN IF NOT EXISTS dropped SMALLINT, ADD COLUMN IF NOT EXISTS erased_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE outcomes ADD COLUMN IF NOT EXISTS feedback_version INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE training_ledger ADD COLUMN IF NOT EXISTS generation INTEGER NOT NULL DEFAULT 0",
)
STATEMENTS = (
    "ALTER TABLE lineages ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE model_versions ADD COLUMN erased_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE api_keys ADD COLUMN origins TEXT[]",
    """
    CREATE TABLE consents (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        unit_id TEXT NOT NULL,
        purpose TEXT NOT NULL CHECK (purpose IN ('personalise', 'learn', 'analyse', 'message')),
        status TEXT NOT NULL CHECK (status IN ('granted', 'denied', 'revoked')),
        text_version TEXT NOT NULL,
        source TEXT NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        actor TEXT NOT NULL
    )
    """,
    "CREATE INDEX consents_unit ON consents (unit_id, purpose, id)",
    "CREATE TABLE restrictions (unit_id TEXT PRIMARY KEY, denied TEXT[] NOT NULL)",
    """
    CREATE VIEW analysed AS SELECT * FROM outcomes o
    WHERE NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = o.unit_id AND 'analyse' = ANY(r.denied))
    """,
    """
    CREATE TABLE feedback (
        decision_id TEXT NOT NULL,
        feedback_id TEXT NOT NULL,
        experiment_id BIGINT NOT NULL,
        unit_id TEXT NOT NULL,
        action TEXT NOT NULL,
        kind TEXT NOT NULL,
        value JSON,
        comment TEXT,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        late BOOLEAN NOT NULL,
        PRIMARY KEY (decision_id, feedback_id)
    )
    """,
    "CREATE INDEX feedback_unit ON feedback (unit_id, received_at)",
    "CREATE INDEX feedback_experiment ON feedback (experiment_id, received_at)",
    """
    CREATE TABLE feedback_schemas (
        experiment_id BIGINT NOT NULL,
        version INTEGER NOT NULL,
        schema JSON NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        applied_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (experiment_id, version)
    )
    """,
    """
    CREATE TABLE erasures (
        id TEXT PRIMARY KEY,
        unit_hash TEXT NOT NULL,
        unit_id TEXT,
        status TEXT NOT NULL CHECK (status IN ('waiting', 'done')),
        receipt JSON,
        actor TEXT NOT NULL,
        requested_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        done_at TIMESTAMP WITH TIME ZONE
    )
    """,
    """
    CREATE TABLE privacy_ledger (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        experiment_id BIGINT NOT NULL,
        epsilon DOUBLE PRECISION NOT NULL,
        report JSON NOT NULL,
        actor TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX privacy_ledger_experiment ON privacy_ledger (experiment_id, id)",
    """
    CREATE TABLE events (
        event_id TEXT PRIMARY KEY,
        unit_id TEXT NOT NULL,
        name TEXT NOT NULL,
        properties JSON NOT NULL,
        body_hash TEXT NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        ignored TEXT
    )
    """,
    "CREATE INDEX events_unit ON events (unit_id, name, occurred_at)",
    "CREATE INDEX events_name ON events (name, occurred_at) WHERE octet_length(event_id) > 0",
    """
    CREATE TABLE awaiting_match (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE triggers (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL CHECK (status IN ('running', 'paused')),
        definition JSON NOT NULL,
        created_by TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        silent_until TIMESTAMP WITH TIME ZONE
    )
    """,
    """
    CREATE TABLE firings (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        trigger_id BIGINT NOT NULL,
        cause TEXT NOT NULL,
        caused_at TIMESTAMP WITH TIME ZONE NOT NULL,
        unit_id TEXT NOT NULL,
        request JSON NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('waiting', 'decided', 'skipped')),
        reason TEXT,
        priority INTEGER NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE NOT NULL,
        wait_decision_id TEXT,
        decision_id TEXT,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        finished_at TIMESTAMP WITH TIME ZONE,
        UNIQUE (trigger_id, cause)
    )
    """,
    "CREATE INDEX firings_due ON firings (due_at, id) WHERE status = 'waiting'",
    "CREATE INDEX firings_unit ON firings (unit_id, id)",
    "CREATE INDEX firings_trigger ON firings (trigger_id, id)",
    """
    CREATE TABLE webhooks (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        url TEXT NOT NULL,
        secret_version INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('running', 'paused')),
        created_by TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE deliveries (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        decision_id TEXT NOT NULL UNIQUE,
        experiment_id BIGINT NOT NULL,
        unit_id TEXT NOT NULL,
        webhook_id BIGINT,
        message JSON NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('waiting', 'delivered', 'failed')),
        attempts INTEGER NOT NULL DEFAULT 0,
        next_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        finished_at TIMESTAMP WITH TIME ZONE
    )
    """,
    "CREATE INDEX deliveries_due ON deliveries (next_at, id) WHERE status = 'waiting' AND webhook_id IS NOT NULL",
    "CREATE INDEX deliveries_unit ON deliveries (unit_id, id)",
    "CREATE INDEX deliveries_webhook ON deliveries (webhook_id, id)",
    "CREATE INDEX deliveries_status ON deliveries (status, id)",
    """
    CREATE TABLE delivery_attempts (
        delivery_id BIGINT NOT NULL,
        number INTEGER NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
        status INTEGER,
        error TEXT,
        seconds DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (delivery_id, number)
    )
    """,
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for statement in COLUMNS:
            online.brief(statement)
        online.replace_index("decisions_unit", "decisions (unit_id, decided_at)")
        online.create_index("decisions_contacts", "decisions (unit_id, decided_at) WHERE channel IS NOT NULL")
        online.replace_primary_key("training_ledger", "experiment_id, arm, generation, decision_id")
    for statement in STATEMENTS:
        op.execute(statement)
