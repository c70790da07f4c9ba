"""Notices: what somebody should know, who wants to know it, and each message to one of them."""

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from app.foundation.store.tables.base import metadata, time_column

notices = Table(  # one for each time that something was so, from its begin to its end
    "notices",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),  # 0: of the whole platform
    Column("topic", Text, nullable=False),
    Column("condition", Text, nullable=False),  # what is so, as a code; open once at a time
    Column("text", Text, nullable=False),
    time_column("began_at", now=True),
    time_column("gone_since", nullable=True),  # it is not so any more since then, and may come back
    time_column("ended_at", nullable=True),
    Index("notices_condition", "experiment_id", "condition"),
    Index("notices_open", "experiment_id", "condition", unique=True, postgresql_where=text("ended_at IS NULL")),
)

notice_receivers = Table(
    "notice_receivers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("webhook", Text, nullable=True),  # its key; null: an e-mail
    Column("email", Text, nullable=True),
    Column("form", Text, nullable=False),  # of a webhook's body: loopwise, slack
    Column("topics", JSONB, nullable=False),
    Column("experiments", JSONB, nullable=False),  # keys; empty: all, and the platform
    Column("person", Text, nullable=True),  # a user's name: a locked-out person gets nothing
    Column("quiet_from", Text, nullable=True),  # local time, as 22:00
    Column("quiet_until", Text, nullable=True),
    Column("time_zone", Text, nullable=False),
    Column("status", Text, nullable=False),  # running, paused
    Column("created_by", Text, nullable=False),
    time_column("created_at", now=True),
)

notice_messages = Table(  # one for each notice, receiver and state, whenever a process is killed
    "notice_messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("notice_id", BigInteger, nullable=False),
    Column("receiver_id", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # opened, recovered, test
    Column("status", Text, nullable=False, server_default="waiting"),  # waiting, delivered, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=True),  # of the last attempt
    time_column("next_at", now=True),
    time_column("created_at", now=True),
    time_column("finished_at", nullable=True),
    UniqueConstraint("notice_id", "receiver_id", "state"),
    Index("notice_messages_waiting", "receiver_id", "id", postgresql_where=text("status = 'waiting'")),
)
