"""Reports that the worker computes and keeps."""

from sqlalchemy import BigInteger, Column, Double, Identity, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from app.foundation.store.tables.base import metadata, time_column

reports = Table(
    "reports",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # results
    Column("segment", Text, nullable=True),  # the context field that splits it
    Column("body", JSONB, nullable=False),
    Column("seconds", Double, nullable=False),  # what it took to compute
    time_column("computed_at", now=True),
    Index("reports_newest", "experiment_id", "kind", "segment", "id"),
)

excluded_units = Table(  # left out of every report of an experiment; their decisions stay in the log
    "excluded_units",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("unit_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    time_column("excluded_at", now=True),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("arm", Text, nullable=False),
    Column("kind", Text, nullable=False),  # value_fell, rewards_lost, behind_fallback
    time_column("began_at"),  # when the fall most likely began
    time_column("opened_at", now=True),
    time_column("closed_at", nullable=True),
    Column("evidence", JSONB, nullable=False),
    Column("actions", JSONB, nullable=False),  # [{at, actor, code}], oldest first
    Index("incidents_experiment", "experiment_id", "id"),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("request", JSONB, nullable=False),
    Column("status", Text, nullable=False),  # queued, running, done, failed
    Column("progress", Double, nullable=False),  # 0 to 1
    Column("result", JSONB, nullable=True),
    Column("error", Text, nullable=True),
    Column("actor", Text, nullable=False),
    time_column("created_at", now=True),
    time_column("started_at", nullable=True),
    time_column("finished_at", nullable=True),
    Index("evaluations_waiting", "status", "id"),
    Index("evaluations_experiment", "experiment_id", "id"),
)

candidates = Table(
    "candidates",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("definition", JSONB, nullable=False),
    time_column("created_at", now=True),
    Column(
        "staging", JSONB(none_as_null=True), nullable=True
    ),  # {share, evaluation, actor, asked_at, problem}, from when a person staged it until it is an arm
)

latest = Table(
    "latest",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),  # results, activity, health, audit, feedback; of the platform (0): consent
    Column("summary", JSONB, nullable=False),  # the few figures that lists of experiments show
    Column("body", JSONB(none_as_null=True), nullable=True),  # the whole; null: kept elsewhere
    Column("seconds", Double, nullable=False),  # what it took to compute
    time_column("computed_at", now=True),
)

saved_metrics = Table(  # the library; experiments have copies
    "saved_metrics",
    metadata,
    Column("key", Text, primary_key=True),
    Column("definition", JSONB, nullable=False),
    Column("version", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    time_column("saved_at", now=True),
)
