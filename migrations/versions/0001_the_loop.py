"""The loop: experiments, keys, models, and the log of decisions, rewards and training."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE api_keys (
        id TEXT NOT NULL,
        secret_hash BYTEA NOT NULL,
        name TEXT NOT NULL,
        scopes TEXT[] NOT NULL,
        experiment_id BIGINT,
        revision BIGINT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        revoked_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX api_keys_revision ON api_keys (revision)
    """,
    """
    CREATE TABLE awaiting_outcome (
        decision_id TEXT NOT NULL,
        experiment_id BIGINT NOT NULL,
        arm TEXT NOT NULL,
        closes_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (decision_id)
    )
    """,
    """
    CREATE INDEX awaiting_outcome_arm ON awaiting_outcome (experiment_id, arm, closes_at)
    """,
    """
    CREATE TABLE changes (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        actor TEXT NOT NULL,
        kind TEXT NOT NULL,
        experiment_id BIGINT,
        before JSONB,
        after JSONB,
        reason TEXT,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX changes_experiment ON changes (experiment_id, id)
    """,
    """
    CREATE TABLE decisions (
        id TEXT NOT NULL,
        experiment_id BIGINT NOT NULL,
        config_version INTEGER NOT NULL,
        key_id TEXT NOT NULL,
        body_hash TEXT NOT NULL,
        unit_id TEXT NOT NULL,
        arm TEXT NOT NULL,
        policy_version INTEGER NOT NULL,
        policy_sha256 TEXT,
        actions JSON,
        eligible TEXT[] NOT NULL,
        ineligible JSON,
        distribution DOUBLE PRECISION[] NOT NULL,
        chosen INTEGER NOT NULL,
        propensity DOUBLE PRECISION NOT NULL,
        draw DOUBLE PRECISION NOT NULL,
        context JSON NOT NULL,
        encoding_version SMALLINT NOT NULL,
        state TEXT NOT NULL,
        confirmed BOOLEAN DEFAULT false NOT NULL,
        seal TEXT NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        closes_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX decisions_experiment_time ON decisions (experiment_id, decided_at)
    """,
    """
    CREATE INDEX decisions_unit ON decisions (unit_id)
    """,
    """
    CREATE TABLE experiment_configs (
        experiment_id BIGINT NOT NULL,
        version INTEGER NOT NULL,
        config JSON NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        PRIMARY KEY (experiment_id, version)
    )
    """,
    """
    CREATE TABLE experiments (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        key TEXT NOT NULL,
        status TEXT NOT NULL,
        salt BYTEA NOT NULL,
        config_version INTEGER NOT NULL,
        revision BIGINT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE,
        concluded_at TIMESTAMP WITH TIME ZONE,
        conclusion TEXT,
        PRIMARY KEY (id),
        UNIQUE (key)
    )
    """,
    """
    CREATE INDEX experiments_revision ON experiments (revision)
    """,
    """
    CREATE TABLE lineages (
        experiment_id BIGINT NOT NULL,
        arm TEXT NOT NULL,
        serving_version_id BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        problem TEXT,
        PRIMARY KEY (experiment_id, arm)
    )
    """,
    """
    CREATE INDEX lineages_revision ON lineages (revision)
    """,
    """
    CREATE TABLE model_versions (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        experiment_id BIGINT NOT NULL,
        arm TEXT NOT NULL,
        number INTEGER NOT NULL,
        parent_id BIGINT,
        kind TEXT NOT NULL,
        examples BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        signature TEXT NOT NULL,
        manifest JSONB NOT NULL,
        checks JSONB NOT NULL,
        model BYTEA NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (experiment_id, arm, number)
    )
    """,
    """
    CREATE TABLE platform (
        id SMALLINT NOT NULL,
        revision BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE rewards (
        decision_id TEXT NOT NULL,
        reward_id TEXT NOT NULL,
        experiment_id BIGINT NOT NULL,
        metric TEXT NOT NULL,
        value DOUBLE PRECISION NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        late BOOLEAN NOT NULL,
        PRIMARY KEY (decision_id, reward_id)
    )
    """,
    """
    CREATE INDEX rewards_experiment_time ON rewards (experiment_id, received_at)
    """,
    """
    CREATE TABLE training_ledger (
        experiment_id BIGINT NOT NULL,
        arm TEXT NOT NULL,
        decision_id TEXT NOT NULL,
        version_id BIGINT NOT NULL,
        position INTEGER NOT NULL,
        reward DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (experiment_id, arm, decision_id)
    )
    """,
    """
    CREATE INDEX training_ledger_version ON training_ledger (version_id, position)
    """,
    """
    CREATE TABLE outcomes (
        experiment_id BIGINT NOT NULL,
        decision_id TEXT NOT NULL,
        arm TEXT NOT NULL,
        unit_id TEXT NOT NULL,
        reward DOUBLE PRECISION NOT NULL,
        events INTEGER NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
        settled_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        PRIMARY KEY (experiment_id, decision_id)
    )
    """,
    """
    CREATE INDEX outcomes_settled ON outcomes (experiment_id, settled_at)
    """,
    "INSERT INTO platform (id, revision) VALUES (1, 1)",
    # What no correct program writes, the log does not take.
    "ALTER TABLE decisions ADD CHECK (propensity > 0 AND propensity <= 1 AND draw >= 0 AND draw < 1)",
    "ALTER TABLE rewards ADD CHECK (value > '-Infinity' AND value < 'Infinity')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
