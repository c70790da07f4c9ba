"""From an event to a message: events, triggers, firings, webhooks, deliveries."""

from sqlalchemy import BigInteger, Column, Double, Identity, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSON

from app.foundation.store.tables.base import metadata, time_column

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
    Column("ignored", Text, nullable=True),  # why it fires nothing (too far in the past or future); null: it may fire
    Index("events_unit", "unit_id", "name", "occurred_at"),
    # For queries that repeat the condition, which is always true, and for no others: over young rows PostgreSQL would take it
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
    time_column("silent_until", nullable=True),  # of an absence: silences that were complete by then have been checked
)

firings = Table(  # one for each trigger and cause, whenever a process is killed
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
    time_column("silent_since", nullable=True),  # no call was answered since then; null: the last call was answered
    time_column("retry_at", nullable=True),  # of a silent one: no call before
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("decision_id", Text, nullable=False),
    Column("experiment_id", BigInteger, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("webhook_id", BigInteger, nullable=True),  # null: held for the stream and for polling
    Column("message", JSON, nullable=False),
    Column("status", Text, nullable=False),  # waiting, delivered, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("next_at", nullable=True),
    time_column("created_at", now=True),
    time_column("finished_at", nullable=True),
    UniqueConstraint("decision_id", "experiment_id"),
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
