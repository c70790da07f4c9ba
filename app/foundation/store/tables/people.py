"""What is stored about the people behind the decisions: consent, feedback, erasure.

An index on ``unit_id`` finds everything about one unit: a decision reads it while somebody waits, and an erasure must find all
of it.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Identity, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from app.foundation.store.tables.base import metadata, time_column

consents = Table(  # append-only: the newest line of a unit and purpose applies
    "consents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("purpose", Text, nullable=False),  # personalise, learn, analyse, message
    Column("status", Text, nullable=False),  # granted, denied, revoked
    Column("text_version", Text, nullable=False),  # of what the person read
    Column("source", Text, nullable=False),  # where it was given
    time_column("occurred_at"),
    time_column("recorded_at", now=True),
    Column("actor", Text, nullable=False),  # the API key
    Index("consents_unit", "unit_id", "purpose", "id"),
)

restrictions = Table(  # one line for each unit that denied or revoked something: every decision reads it
    "restrictions",
    metadata,
    Column("unit_id", Text, primary_key=True),
    Column("denied", ARRAY(Text), nullable=False),  # purposes
)

feedback = Table(
    "feedback",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("feedback_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),  # thumbs, stars, score, reason, comment, dismissed, not_interested
    Column("value", JSON, nullable=True),  # as given; null: the kind takes no value
    Column("comment", Text, nullable=True),
    time_column("occurred_at"),
    time_column("received_at", now=True),
    Column("late", Boolean, nullable=False),  # received after the reward window
    Index("feedback_unit", "unit_id", "received_at"),
    Index("feedback_experiment", "experiment_id", "received_at"),
)

feedback_schemas = Table(
    "feedback_schemas",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("schema", JSON, nullable=False),
    time_column("created_at", now=True),
    time_column("applied_at", nullable=True),  # when outcomes and models were recomputed under it; null: not yet
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=True),  # why the last try failed
    time_column("retry_at", nullable=True),  # not tried again before
)

erasures = Table(
    "erasures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("unit_hash", Text, nullable=False),  # keyed hash: shows later that this unit was erased, not who it was
    Column("unit_id", Text, nullable=True),  # null once it is done
    Column("status", Text, nullable=False),  # waiting, done
    Column("receipt", JSON, nullable=True),
    Column("actor", Text, nullable=False),
    time_column("requested_at", now=True),
    time_column("done_at", nullable=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=True),  # why the last try failed
    time_column("retry_at", nullable=True),  # not tried again before
)

privacy_ledger = Table(
    "privacy_ledger",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("epsilon", Double, nullable=False),  # spent by this report
    Column("report", JSON, nullable=False),
    Column("actor", Text, nullable=False),
    time_column("at", now=True),
    Index("privacy_ledger_experiment", "experiment_id", "id"),
)
