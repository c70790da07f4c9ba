"""The tables of messages and of the people who get them: feedback, consent, erasure; events, triggers, deliveries.

Like ``app.foundation.store.tables``, which they extend. Everything about one unit is found by an index on ``unit_id``: a decision
reads it while somebody waits, and an erasure must find all of it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from app.foundation.store.tables import metadata, time_column

# How long work that failed waits for its next try: from 10 s, doubled each time, to an hour.
RETRY_PAUSE = "make_interval(secs => least(3600, 10 * 2 ^ least(failures, 10)))"

consents = Table(  # append-only: the newest line of a unit and purpose is what holds
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

# Reports read the view `analysed`: outcomes without those of units that deny being analysed.
restrictions = Table(  # one line for each unit that denied or revoked something: what every decision is held against
    "restrictions",
    metadata,
    Column("unit_id", Text, primary_key=True),
    Column("denied", ARRAY(Text), nullable=False),  # purposes
)

feedback = Table(
    "feedback",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("feedback_id", Text, primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),  # thumbs, stars, score, reason, comment, dismissed, not_interested
    Column("value", JSON, nullable=True),  # as given; null: the kind says it all
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
    Column("unit_hash", Text, nullable=False),  # keyed hash: tells later that this unit was erased, not who it was
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

events = Table(
    "events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("properties", JSON, nullable=False),
    Column("body_hash", Text, nullable=False),
    time_column("occurred_at"),
    time_column("received_at", now=True),
    Column("ignored", Text, nullable=True),  # why it fires nothing (too far in the past or future); null: it may
    Index("events_unit", "unit_id", "name", "occurred_at"),
    # For queries that repeat the condition, which always holds, and for no others: over young rows PostgreSQL would take it
    # for one unit's events, too, and read everybody's.
    Index("events_name", "name", "occurred_at", postgresql_where=text("octet_length(event_id) > 0")),
)

awaiting_match = Table(  # events that triggers have not looked at yet
    "awaiting_match",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Text, nullable=False),
)

triggers = Table(
    "triggers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),  # running, paused
    Column("definition", JSON, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),  # of the definition
    Column("created_by", Text, nullable=False),
    time_column("created_at", now=True),
    time_column("changed_at", now=True),
    time_column("silent_until", nullable=True),  # of an absence: silences that were complete then were looked at
)

firings = Table(  # one for each trigger and cause, whatever is killed when
    "firings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("trigger_id", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),  # what made it fire, such as the event's id: never twice
    time_column("caused_at"),  # when that event happened
    Column("unit_id", Text, nullable=False),
    Column("request", JSON, nullable=False),  # the message that it asks for, with the event's values until it is done
    Column("status", Text, nullable=False),  # waiting, decided, skipped
    Column("reason", Text, nullable=True),  # why it was skipped
    Column("priority", Integer, nullable=False),
    time_column("due_at"),
    Column("wait_decision_id", Text, nullable=True),  # of the experiment that chose how long to wait
    Column("decision_id", Text, nullable=True),
    time_column("created_at", now=True),
    time_column("finished_at", nullable=True),
    UniqueConstraint("trigger_id", "cause"),
    Index("firings_due", "due_at", "id", postgresql_where=text("status = 'waiting'")),
    Index("firings_unit", "unit_id", "id"),
    Index("firings_trigger", "trigger_id", "id"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("secret_version", Integer, nullable=False),  # the secret is derived from it, and stored nowhere
    Column("version", Integer, nullable=False, server_default="1"),  # of address and secret
    Column("status", Text, nullable=False),  # running, paused
    Column("created_by", Text, nullable=False),
    time_column("created_at", now=True),
    time_column("silent_since", nullable=True),  # no call was answered since then; null: the last one was
    time_column("retry_at", nullable=True),  # of a silent one: no call before
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("decision_id", Text, nullable=False, unique=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("webhook_id", BigInteger, nullable=True),  # null: held for the stream and for polling
    Column("message", JSON, nullable=False),
    Column("status", Text, nullable=False),  # waiting, delivered, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("next_at", nullable=True),
    time_column("created_at", now=True),
    time_column("finished_at", nullable=True),
    Index(
        "deliveries_due",
        "webhook_id",
        "next_at",
        "id",
        postgresql_where=text("status = 'waiting' AND webhook_id IS NOT NULL"),
    ),
    Index("deliveries_unit", "unit_id", "id"),
    Index("deliveries_webhook", "webhook_id", "id"),
    Index("deliveries_status", "status", "id"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("delivery_id", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    time_column("at", now=True),
    Column("status", Integer, nullable=True),  # HTTP's; null: there was no answer
    Column("error", Text, nullable=True),
    Column("seconds", Double, nullable=False),
)
