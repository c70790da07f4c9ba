"""Sums that are kept from report to report. They follow from the log, and are made again from it."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Table, Text, text

from app.foundation.store.tables.base import metadata, time_column

unit_sums = Table(  # of the settled decisions that the state counts
    "unit_sums",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("unit_id", Text, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("decisions", BigInteger, nullable=False),
    Column("reward", Double, nullable=False),  # sum
    time_column("first_at"),  # its earliest decision
    time_column("last_at"),
)

unit_sum_states = Table(  # what the sums of an experiment count: settled before one time, decided before another
    "unit_sum_states",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    time_column("created_at", now=True),
    time_column("built_at", nullable=True),  # from nothing; null: not yet
    time_column("settled_before", nullable=True),
    time_column("decided_before", nullable=True),  # null: whenever they were decided
    time_column("newest_at", nullable=True),  # the latest decision that they count
    Column("stale", Boolean, nullable=False, server_default=text("true")),  # an outcome changed, or went
    Column("ahead", Boolean, nullable=False, server_default=text("false")),  # has decisions later than their outcomes
)
