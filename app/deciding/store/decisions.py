"""The decision log: written in batches, read by id, activated at most once."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection, select, text

from app.deciding.store.counts import Counted
from app.foundation.store import chain, tables
from app.foundation.store.fragments import (
    DECISIONS_OF_IDS,
    KEYS,
    OF_ID,
    OF_KEYS,
    TRIAL,
    DecisionKey,
    Span,
    decision_of,
    keys,
)

LOGGED = tables.decisions.alias("d")  # as the fragments call it


class LoggedReason(TypedDict):
    """Why an action was not eligible. Rows from before the codes existed have the words in ``reason`` instead."""

    id: str
    code: NotRequired[str]  # see app.content.reasons
    params: NotRequired[dict[str, JsonValue]]
    reason: NotRequired[str]


class NewDecision(NamedTuple):
    """One row to store. The fields are named after the columns, except for the last two."""

    id: str
    experiment_id: int
    config_version: int
    key_id: str
    body_hash: str
    unit_id: str
    arm: str
    policy_version: int
    policy_sha256: str | None
    actions: JsonValue  # the call's own candidates, or null
    eligible: list[str]
    ineligible: list[LoggedReason] | None
    distribution: list[float]
    chosen: int
    propensity: float
    draw: float
    context: dict[str, JsonValue]
    encoding_version: int
    message: dict[str, str] | None
    state: str
    channel: str | None  # of the chosen message; null: the action sends no message
    withheld: list[str] | None  # purposes without consent; null: none
    dropped: int | None  # context fields that were not declared; null: none
    holdout_version: int | None  # of the global holdout that was in force; null: none was
    holdout: bool | None  # true: its unit is in it; null: not
    counted: Counted | None  # of each arm with a target over a window; null: no arm has counts
    seal: str  # over the fields above, see app.deciding.seal
    window_s: float  # reward window, in seconds
    unit_known: bool  # True: planned with the unit's state; False: assumes that the unit denied nothing

    @property
    def key(self) -> DecisionKey:
        """What names the decision."""
        return self.experiment_id, self.id


class StoredDecision(NamedTuple):
    """One stored row."""

    id: str
    experiment_id: int
    config_version: int
    key_id: str
    body_hash: str
    unit_id: str
    arm: str
    policy_version: int
    policy_sha256: str | None
    actions: list[dict[str, JsonValue]] | None
    eligible: list[str]
    ineligible: list[LoggedReason] | None
    distribution: list[float]
    chosen: int
    propensity: float
    draw: float
    context: dict[str, JsonValue]
    encoding_version: int
    message: dict[str, str] | None
    state: str  # active, deferred, unanswered, imported, trial
    confirmed: bool
    seal: str  # empty: imported
    decided_at: datetime
    closes_at: datetime | None  # null: no reward window, or it has not started
    channel: str | None
    withheld: list[str] | None
    dropped: int | None
    holdout_version: int | None
    holdout: bool | None
    counted: Counted | None
    erased_at: datetime | None  # when everything that identifies its unit was removed

    @property
    def key(self) -> DecisionKey:
        """What names the decision."""
        return self.experiment_id, self.id


# A decision is used for learning and for analysis after its reward window. A decision that may be used for neither has no
# window.
_COUNTS = """
    NOT coalesce('personalise' = ANY({row}.withheld) OR {row}.withheld @> ARRAY['learn', 'analyse'], false)
"""
# One JSON document carries the batch. Writing it with orjson and reading it in PostgreSQL is faster than quoting each
# parameter in Python. The join drops rows whose experiment was paused or changed after they were planned. The condition
# drops rows that were planned without the state of their unit although the unit denied something, and rows that were planned
# under another version of the global holdout. The table of ids takes what is left, and drops rows whose id was taken before;
# only what it took is stored. Such small joins keep the order of the batch: what one call decided is stored in its order.
_INSERT = """
    WITH input AS (
        SELECT * FROM json_to_recordset(%(rows)s) AS t (
            id text, experiment_id bigint, config_version int, key_id text, body_hash text, unit_id text, arm text,
            policy_version int, policy_sha256 text, actions json, eligible text[], ineligible json,
            distribution float8[], chosen int, propensity float8, draw float8, context json, encoding_version smallint,
            message json, state text, channel text, withheld text[], dropped smallint, holdout_version int,
            holdout boolean, counted json, seal text, window_s float8, unit_known boolean)
    ), named AS (
        INSERT INTO decision_ids (decision_id, experiment_id, decided_at)
        SELECT i.id, i.experiment_id, statement_timestamp()
        FROM input i
        JOIN experiments e ON e.id = i.experiment_id AND e.config_version = i.config_version AND e.status = 'running'
        WHERE (i.unit_known OR NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = i.unit_id))
          AND i.holdout_version IS NOT DISTINCT FROM (SELECT max(version) FROM holdouts)
        ON CONFLICT DO NOTHING
        RETURNING decision_id, experiment_id
    ), stored AS (
        INSERT INTO decisions (id, experiment_id, config_version, key_id, body_hash, unit_id, arm, policy_version,
            policy_sha256, actions, eligible, ineligible, distribution, chosen, propensity, draw, context,
            encoding_version, message, state, channel, withheld, dropped, holdout_version, holdout, counted, seal,
            decided_at, closes_at)
        SELECT i.id, i.experiment_id, i.config_version, i.key_id, i.body_hash, i.unit_id, i.arm, i.policy_version,
            i.policy_sha256, i.actions, i.eligible, i.ineligible, i.distribution, i.chosen, i.propensity, i.draw,
            i.context, i.encoding_version, i.message, i.state, i.channel, i.withheld, i.dropped, i.holdout_version,
            i.holdout, i.counted, i.seal, statement_timestamp(),
            CASE WHEN i.state = 'active' AND {counts} THEN statement_timestamp() + make_interval(secs => i.window_s) END
        FROM input i JOIN named n ON n.decision_id = i.id AND n.experiment_id = i.experiment_id
        RETURNING id, experiment_id, arm, closes_at, seal, decided_at
    ), links AS ({link}), waiting AS (
        INSERT INTO awaiting_outcome (decision_id, experiment_id, arm, closes_at)
        SELECT id, experiment_id, arm, closes_at FROM stored WHERE closes_at IS NOT NULL
    )
    SELECT experiment_id, id FROM stored WHERE {added}
""".format(
    counts=_COUNTS.format(row="i"),
    added=chain.ADDED,
    link=chain.link(chain.DECISIONS, "stored").replace(f":{chain.CHAIN_KEY}", f"%({chain.CHAIN_KEY})s"),
)


def insert_new(connection: Connection, rows: list[NewDecision]) -> set[DecisionKey]:
    """Store the rows and return the keys of the new ones. The others were stored before, or planned under an old configuration.

    This is one statement, so that all of it is stored or nothing, even outside a transaction.
    """
    by_key: dict[DecisionKey, NewDecision] = {}
    for row in rows:
        by_key.setdefault((row.experiment_id, row.id), row)  # of two rows with one id, the first is stored
    document = orjson.dumps([row._asdict() for row in by_key.values()]).decode()
    stored = connection.exec_driver_sql(_INSERT, {"rows": document} | chain.key(connection))
    return {(experiment_id, id_) for experiment_id, id_ in stored.all()}


STORED = select(*[LOGGED.c[name] for name in StoredDecision._fields])
_FIND = text(f"SELECT {', '.join(f'd.{name}' for name in StoredDecision._fields)} FROM {KEYS} {decision_of('k')}")


def find_many(connection: Connection, of: Iterable[DecisionKey]) -> dict[DecisionKey, StoredDecision]:
    """Return the whole rows of these decisions. Unknown ones are missing."""
    stored = connection.execute(_FIND, keys(of))
    return {row.key: row for row in map(StoredDecision._make, stored)}


def find(connection: Connection, key: DecisionKey) -> StoredDecision | None:
    """Return the whole row of a decision, or None if there is none."""
    return find_many(connection, [key]).get(key)


class Having(NamedTuple):
    """Which experiments have decisions of some ids."""

    experiments: dict[str, list[int]]  # by decision id
    trials: set[DecisionKey]
    span: Span | None  # of the decisions; null: there is none


_NAMED = text(
    "SELECT decision_id AS id, experiment_id, decided_at FROM decision_ids WHERE decision_id = ANY(:ids) ORDER BY experiment_id"
)
_TRIALS = text(
    f"""
    SELECT i.experiment_id, i.decision_id FROM decision_ids i {decision_of("i", "i.decided_at", spanned=True)}
    WHERE i.decision_id = ANY(:ids) AND d.state = '{TRIAL}'
    """
)


def experiments_with(connection: Connection, ids: Iterable[str]) -> Having:
    """Find the experiments that have a decision of these ids."""
    wanted = list(ids)
    rows = connection.execute(_NAMED, {"ids": wanted}).all()
    if not rows:
        return Having({}, set(), None)
    experiments: dict[str, list[int]] = {}
    for row in rows:
        experiments.setdefault(row.id, []).append(row.experiment_id)
    span = Span(min(row.decided_at for row in rows), max(row.decided_at for row in rows))
    trials = connection.execute(_TRIALS, {"ids": wanted} | span._asdict())
    return Having(experiments, {(row.experiment_id, row.decision_id) for row in trials}, span)


def distributions(connection: Connection, experiment_id: int, ids: list[str]) -> dict[str, list[float]]:
    """Return the logged distributions of these decisions of an experiment, by id."""
    query = f"SELECT d.id, d.distribution FROM {DECISIONS_OF_IDS}"
    rows = connection.execute(text(query), {"ids": ids, "experiment_id": experiment_id})
    return {row.id: row.distribution for row in rows}


_ACTIVATE = text(
    """
    WITH activated AS (
        UPDATE decisions d SET state = 'active',
            closes_at = CASE WHEN {counts} THEN clock_timestamp() + make_interval(secs => :window_s) END
        WHERE {of_id} AND state = ANY(:from_states)
        RETURNING id, experiment_id, arm, closes_at
    ), waiting AS (
        INSERT INTO awaiting_outcome (decision_id, experiment_id, arm, closes_at)
        SELECT id, experiment_id, arm, closes_at FROM activated WHERE closes_at IS NOT NULL
    )
    SELECT count(*) FROM activated
    """.format(counts=_COUNTS.format(row="d"), of_id=OF_ID)
)


def activate(connection: Connection, key: DecisionKey, *, from_states: list[str], window_s: float) -> bool:
    """Open the reward window of a decision that is in one of these states; returns False if it is in another state.

    :param window_s: the length of the reward window, in seconds.
    """
    experiment_id, id_ = key
    values = {"experiment_id": experiment_id, "id": id_, "from_states": from_states, "window_s": window_s}
    return bool(connection.execute(_ACTIVATE, values).scalar_one())


_CONFIRM = text(
    f"""
    UPDATE decisions d SET confirmed = true
    WHERE {OF_KEYS} AND d.decided_at > statement_timestamp() - interval '1 minute'
    RETURNING experiment_id, id, state
    """
)


def confirm(connection: Connection, of: Iterable[DecisionKey]) -> dict[DecisionKey, str]:
    """Protect decisions whose caller retried and gets the answer from a pending ``mark_unanswered``.

    :returns: the states; without decisions that are so old that no mark can be pending.
    """
    return {(row.experiment_id, row.id): row.state for row in connection.execute(_CONFIRM, keys(of))}


_UNANSWERED = text(
    f"""
    WITH silent AS (
        SELECT d.experiment_id, d.id, d.decided_at FROM decisions d WHERE {OF_KEYS} AND NOT d.confirmed FOR UPDATE OF d
    ), gone AS (
        DELETE FROM awaiting_outcome a USING silent s WHERE a.decision_id = s.id AND a.experiment_id = s.experiment_id
        RETURNING a.experiment_id, a.decision_id, s.decided_at
    )
    UPDATE decisions d SET state = 'unanswered', closes_at = NULL FROM gone g
    WHERE d.id = g.decision_id AND d.experiment_id = g.experiment_id AND d.decided_at = g.decided_at
    """
)


def mark_unanswered(connection: Connection, of: Iterable[DecisionKey]) -> None:
    """Mark decisions that were stored although their caller got status 503. They do not count unless the caller retries.

    A decision that its caller has retried already counts. A decision that was settled in the meantime stays as it is:
    if its caller reopened it, it would be settled, and learned from, twice.
    """
    connection.execute(_UNANSWERED, keys(of))
