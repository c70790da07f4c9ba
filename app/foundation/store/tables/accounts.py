"""People who sign in, and their drafts."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSON

from app.foundation.store.tables.base import metadata, time_column

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # lower case
    Column("role", Text, nullable=False),  # viewer, analyst, editor, admin
    Column("password_hash", Text, nullable=True),  # argon2id; null: the person has not chosen one yet
    time_column("created_at", now=True),
    time_column("disabled_at", nullable=True),
    time_column("signed_in_at", nullable=True),
    Column("time_zone", Text, nullable=True),  # as in Europe/Vienna; null: that of the browser
    Column("theme", Text, nullable=True),  # auto, light, dark; null: not chosen
)

stars = Table(  # experiments that a person wants to see first
    "stars",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
)

saved_filters = Table(  # of the list of experiments
    "saved_filters",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("filter", JSON, nullable=False),
)

approvals = Table(  # what one person asked for and a second one has to approve
    "approvals",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("action", Text, nullable=False),  # start, change, ship, ramp, schedule
    Column("document", JSON, nullable=False),  # what the action needs
    Column("config_version", Integer, nullable=False),  # of the experiment when it was asked for
    Column("asked_by", Text, nullable=False),
    time_column("asked_at", now=True),
    Column("decided_by", Text, nullable=True),
    time_column("decided_at", nullable=True),  # null: it waits
    Column("approved", Boolean, nullable=True),
    Index("approvals_open", "experiment_id", "action", unique=True, postgresql_where=text("decided_at IS NULL")),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),  # SHA-256 of 256 random bits
    Column("user_id", BigInteger, nullable=True),  # null: the person who opens it becomes the first administrator
    time_column("expires_at"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    time_column("created_at", now=True),
    time_column("used_at", now=True),
    Index("sessions_user", "user_id"),
)

sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    time_column("at", now=True),
    Index("sign_in_failures_at", "at"),
)

drafts = Table(
    "drafts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=True),  # the experiment that it changes; null: it will be a new one
    Column("base_version", Integer, nullable=True),  # the configuration that the change began from
    Column("typed", JSON, nullable=False),  # {"saved": [step], "document": what was typed, even if it is wrong}
    Column("version", Integer, nullable=False),  # one more at each save
    Column("created_by", Text, nullable=False),
    Column("updated_by", Text, nullable=False),
    time_column("created_at", now=True),
    time_column("updated_at", now=True),
)
