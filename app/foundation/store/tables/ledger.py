"""What models learned, and what rounds leave out for now."""

from sqlalchemy import BigInteger, Column, Double, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.foundation.store.tables.base import metadata, time_column

training_ledger = Table(
    "training_ledger",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False, server_default="0"),
    Column("decision_id", Text, primary_key=True),
    Column("version_id", BigInteger, nullable=False),  # 0: not learned: its unit does not consent, or see held_out
    Column("position", Integer, nullable=False),  # order within the round, from 0
    Column("reward", Double, nullable=False),  # the joined reward that was learned
    Column(
        "mixture", ARRAY(Double), nullable=True
    ),  # the platform's distribution that it was learned with, from the log of all arms; null: that of its own arm
    Index("training_ledger_version", "version_id", "position"),
)

warm_lessons = Table(  # what the first model of an arm learned from another log
    "warm_lessons",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("arm", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),  # order of learning, from 0
    Column("source_id", BigInteger, nullable=False),  # the experiment of the decision
    Column("decision_id", Text, nullable=False),
    Column("reward", Double, nullable=False),  # the joined reward that was learned
    Column(
        "mixture", ARRAY(Double), nullable=False
    ),  # the distribution that it was drawn from; 0 where it is not known
    Index("warm_lessons_decision", "source_id", "decision_id"),
)

held_out = (
    Table(  # decisions of learning and other arms that are not learned for now: their rows in the ledger have version 0
        "held_out",
        metadata,
        Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
        Column("decision_id", Text, primary_key=True),
        Column("arm", Text, nullable=False),
        Column("rule", Text, nullable=False),  # unit_share, or that of its suspect
        Column("suspect_id", BigInteger, nullable=True),  # null: held by unit_share alone
        Column("status", Text, nullable=False),  # held; released: the next round learns it, and removes the line
        time_column("held_at", now=True),
        Index("held_out_released", "experiment_id", "arm", postgresql_where=text("status = 'released'")),
        Index("held_out_suspect", "suspect_id"),
    )
)

suspects = Table(  # whose decisions are held out of rounds
    "suspects",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),  # why: anomaly, or person
    Column("unit_id", Text, nullable=True),  # null: any unit
    Column("key_id", Text, nullable=True),  # the API key of the decisions; null: any key
    time_column("since", nullable=True),  # decided then or later; null: from the beginning
    time_column("until", nullable=True),  # decided before; null: without an end
    Column("status", Text, nullable=False),  # held, released, excluded
    Column("why", Text, nullable=False),  # in words, without the unit's id
    Column("actor", Text, nullable=False),
    time_column("opened_at", now=True),
    time_column("decided_at", nullable=True),  # when a person released or excluded it
    Column("receipt", JSONB, nullable=True),  # of an exclusion; null: the models have not followed yet
    Index("suspects_experiment", "experiment_id", "status"),
)
