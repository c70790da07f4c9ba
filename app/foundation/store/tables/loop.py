"""The loop: experiments, keys, models, and the log of decisions, rewards and training."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

from app.foundation.store.tables.base import metadata, time_column

platform = Table(
    "platform",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

holdouts = Table(  # versions of the global holdout; the newest is in force
    "holdouts",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("share", Double, nullable=False),  # of the units that no experiment touches; 0: none
    Column("salt", LargeBinary, nullable=False),  # 32 random bytes, the same in every version
    Column("seal", Text, nullable=False),  # hex HMAC over the three columns before
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    time_column("created_at", now=True),
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),  # draft, running, paused, concluded
    Column("salt", LargeBinary, nullable=False),  # 32 random bytes: arms and draws hash with it
    Column("config_version", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    time_column("created_at", now=True),
    time_column("started_at", nullable=True),
    time_column("concluded_at", nullable=True),
    Column("conclusion", Text, nullable=True),
    Column("owner", Text, nullable=False, server_default=""),  # the user, or the API key, that created it
    time_column("archived_at", nullable=True),  # lists leave it out; null: they show it
    time_column("starts_at", nullable=True),  # when the worker starts it; null: a person does
    time_column("ends_at", nullable=True),  # when the worker concludes it; null: a person does
    Column("ends_with", Text, nullable=True),  # what callers get from then on: error, control
    Column("scheduled_by", Text, nullable=True),
    Column("tags", ARRAY(Text), nullable=False, server_default="{}"),
    Index("experiments_revision", "revision"),
)

experiment_configs = Table(
    "experiment_configs",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column(
        "config", JSON, nullable=False
    ),  # immutable; JSON, not JSONB: features keep the order in which they were given
    time_column("created_at", now=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),  # the public prefix
    Column("secret_hash", LargeBinary, nullable=False),  # SHA-256 of the whole key (256 random bits need no slow hash)
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("experiment_id", BigInteger, nullable=True),  # null: any experiment
    Column("revision", BigInteger, nullable=False),
    time_column("created_at", now=True),
    time_column("revoked_at", nullable=True),
    Column("origins", ARRAY(Text), nullable=True),  # of web pages that may use it, then it may be public; null: secret
    Column("test", Boolean, nullable=False, server_default=text("false")),  # true: its decisions are trials
    Index("api_keys_revision", "revision"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    Column("arm", Text, nullable=False),
    Column("number", Integer, nullable=False),  # 0 is the untrained model
    Column("parent_id", BigInteger, nullable=True),
    Column(
        "kind", Text, nullable=False
    ),  # initial, incremental, refit, rebuild, relearned, challenger, staged, copied, warm
    Column("examples", BigInteger, nullable=False),  # decisions learned from, ancestors' included
    Column("sha256", Text, nullable=False),  # hex, of the model's bytes
    Column("signature", Text, nullable=False),  # hex HMAC-SHA256 over lineage, number and sha256
    Column("manifest", JSONB, nullable=False),  # everything that is needed to make the same bytes again
    Column("checks", JSONB, nullable=False),  # what the canary checks found
    Column("model", LargeBinary, nullable=False),  # zlib
    time_column("created_at", now=True),
    time_column(
        "erased_at", nullable=True
    ),  # when the bytes were removed, because a unit that it learned from was erased
    UniqueConstraint("experiment_id", "arm", "number"),
)

lineages = Table(
    "lineages",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("serving_version_id", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("problem", Text, nullable=True),  # why the last round did not go into service
    Column("generation", Integer, nullable=False, server_default="0"),  # of the ledger: one more at each rebuild
    time_column("rebuild_asked_at", nullable=True),  # when a person asked for a rebuild that is not done yet
    Column(
        "pinned", Text, nullable=True
    ),  # candidate of the race that a person pinned; takes effect with the next refit
    time_column("challenge_since", nullable=True),  # when the world changed, while a challenger is asked for
    Column("challenge_needed", Integer, nullable=True),  # decisions since then, from which it is tried
    time_column("challenged_at", nullable=True),  # when the newest challenger was tried
    Column(
        "warm_start", JSONB, nullable=True
    ),  # {source, agreement, actor, asked_at, problem} of a person, until it is done
    Index("lineages_revision", "revision"),
)

changes = Table(
    "changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time_column("at", now=True),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("experiment_id", BigInteger, nullable=True),
    Column("before", JSONB, nullable=True),
    Column("after", JSONB, nullable=True),
    Column("reason", Text, nullable=True),
    Index("changes_experiment", "experiment_id", "id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, nullable=False),  # unique within its experiment: see decision_ids
    Column("experiment_id", BigInteger, nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("body_hash", Text, nullable=False),  # hex, keyed: tells a retry from a reuse; empty: its id was made here
    Column("unit_id", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("policy_version", Integer, nullable=False),  # 0: no trained model took part
    Column("policy_sha256", Text, nullable=True),
    Column("actions", JSON, nullable=True),  # the call's own candidates; null: those of the configuration
    Column("eligible", ARRAY(Text), nullable=False),  # action ids, in the order of the distribution
    Column("ineligible", JSON, nullable=True),  # [{id, reason}]
    Column("distribution", ARRAY(Double), nullable=False),  # imported: null elements where the file does not hold it
    Column("chosen", Integer, nullable=False),  # index into eligible and distribution, from 0
    Column("propensity", Double, nullable=False),  # distribution[chosen]
    Column("draw", Double, nullable=False),  # in [0, 1)
    Column("context", JSON, nullable=False),
    Column("encoding_version", SmallInteger, nullable=False),
    Column("message", JSON, nullable=True),  # as the person got it; null: none was asked for, or it says nothing
    Column("state", Text, nullable=False),  # active, deferred, unanswered, imported, trial
    Column("confirmed", Boolean, nullable=False, server_default=text("false")),  # its caller asked twice
    Column("arm_distributions", JSON, nullable=True),  # imported: every arm's distribution, by arm; null: not known
    Column("stands_for", Double, nullable=True),  # imported: decisions of which only this one was logged; null: 1
    Column("seal", Text, nullable=False),  # hex HMAC over what the row claims; empty: imported
    time_column("decided_at", now=True),
    time_column("closes_at", nullable=True),  # end of the reward window; null while not activated
    Column("channel", Text, nullable=True),  # of the message that was chosen; null: nothing was said
    Column("withheld", ARRAY(Text), nullable=True),  # purposes without consent when it was made; null: none
    Column("dropped", SmallInteger, nullable=True),  # context fields that were not declared, and not stored
    Column("holdout_version", Integer, nullable=True),  # of the global holdout that was in force; null: none was
    Column("holdout", Boolean, nullable=True),  # true: its unit was in it, and the control decided
    Column("counted", JSON, nullable=True),  # by arm with a target over a window: the counts that it saw; null: none
    time_column("erased_at", nullable=True),  # since then everything that pointed to its unit is gone
    Index("decisions_experiment_time", "experiment_id", "decided_at", "id"),
    Index("decisions_unit", "unit_id", "decided_at"),
    Index("decisions_contacts", "unit_id", "decided_at", postgresql_where=text("channel IS NOT NULL")),
    postgresql_partition_by="RANGE (decided_at)",  # by months, see app.foundation.store.partitions
)

decision_ids = Table(  # of all partitions: an id is unique within its experiment, and is found without it
    "decision_ids",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    time_column("decided_at"),  # tells the partition, and the place in its index
)

rewards = Table(
    "rewards",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reward_id", Text, primary_key=True),
    Column("metric", Text, nullable=False),
    Column("value", Double, nullable=False),
    time_column("occurred_at"),
    time_column("received_at", now=True),
    Column("late", Boolean, nullable=False),  # received after the window: kept and counted, not learned from
    Index("rewards_experiment_time", "experiment_id", "received_at"),
)

awaiting_outcome = Table(
    "awaiting_outcome",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("experiment_id", BigInteger, primary_key=True, autoincrement=False),
    Column("arm", Text, nullable=False),
    time_column("closes_at"),
    Index("awaiting_outcome_arm", "experiment_id", "arm", "closes_at"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("decision_id", Text, primary_key=True),
    Column("arm", Text, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("reward", Double, nullable=False),  # joined by the experiment's rule when the window closed; final
    Column("events", Integer, nullable=False),  # reward events that came in time; 0: the default was taken
    time_column("decided_at"),
    time_column("settled_at", now=True),
    Column("feedback_version", Integer, nullable=False, server_default="0"),  # feedback schema of the reward; 0: none
    Column("config_version", Integer, nullable=True),  # of the decision; null in rows from before the column
    time_column("opened_at", nullable=True),  # when its windows opened: decided, or activated; null: decided_at
    Column(
        "holdout", Boolean, nullable=False, server_default=text("false")
    ),  # of a unit in the global holdout: in no result
    Index("outcomes_settled", "experiment_id", "settled_at"),
)
