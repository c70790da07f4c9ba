"""What a round reads and writes: decisions that are due, their rewards, their outcomes, the ledger of what was learned."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, func, select, text

from app.store import tables

LINEAGE_LOCKS = 7_205_759  # first half of a lineage's advisory lock; the second is the hash of its name
_ledger = tables.training_ledger


class Due(NamedTuple):
    """One decision with what is needed to settle its outcome and to learn from it."""

    id: str
    unit_id: str
    decided_at: datetime
    config_version: int
    actions: Any  # the call's own candidates; null: the configuration's
    eligible: list[str]
    chosen: int
    propensity: float
    context: Any
    rewards: list[list[Any]]  # [value, occurred_at as ISO 8601, reward id] of those in time; empty: none


class Outcome(NamedTuple):
    """What one decision came to."""

    decision: Due
    reward: float  # joined by the experiment's rule


def arms_with_due_decisions(connection: Connection) -> list[tuple[int, str]]:
    """(experiment id, arm) of every arm in which a reward window has closed."""
    query = "SELECT DISTINCT experiment_id, arm FROM awaiting_outcome WHERE closes_at <= clock_timestamp()"
    return [(row.experiment_id, row.arm) for row in connection.execute(text(query))]


def lock_lineage(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Hold a lineage alone until the transaction ends; False when somebody else holds it."""
    query = text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:name))")
    values = {"space": LINEAGE_LOCKS, "name": f"{experiment_id}/{arm}"}
    return bool(connection.execute(query, values).scalar_one())


# Rewards are joined by the learner, in Python, with the one rule that the audit uses too: SQL only gathers them.
_EXAMPLE_COLUMNS = """
    SELECT d.id, d.unit_id, d.decided_at, d.config_version, d.actions, d.eligible, d.chosen, d.propensity, d.context,
        coalesce((SELECT json_agg(json_build_array(r.value, r.occurred_at, r.reward_id)) FROM rewards r
            WHERE r.decision_id = d.id AND r.metric = 'reward' AND NOT r.late), '[]') AS rewards
"""
_DUE = text(
    _EXAMPLE_COLUMNS
    + """
    FROM awaiting_outcome a JOIN decisions d ON d.id = a.decision_id
    WHERE a.experiment_id = :experiment_id AND a.arm = :arm AND a.closes_at <= :until
    ORDER BY d.decided_at, d.id LIMIT :most
    FOR UPDATE OF a
    """
)
_OF_VERSION = text(
    _EXAMPLE_COLUMNS.replace("SELECT d.id", "SELECT l.reward AS learned, d.id")
    + """
    FROM training_ledger l JOIN decisions d ON d.id = l.decision_id
    WHERE l.version_id = :version_id ORDER BY l.position
    """
)


_SETTLED = text(
    _EXAMPLE_COLUMNS.replace("SELECT d.id", "SELECT o.reward AS settled, d.id")
    + """
    FROM outcomes o JOIN decisions d ON d.id = o.decision_id
    WHERE o.experiment_id = :experiment_id AND d.state <> 'imported'
      AND o.settled_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
    """
).execution_options(stream_results=True, max_row_buffer=5000)


def each_outcome(
    connection: Connection, experiment_id: int, since: datetime | None = None
) -> Iterator[tuple[float, Due]]:
    """Every settled reward (since a time) of decisions that were made here, with what the log has now."""
    for row in connection.execute(_SETTLED, {"experiment_id": experiment_id, "since": since}):
        yield row[0], Due._make(row[1:])


def due(connection: Connection, experiment_id: int, arm: str, until: datetime, most: int) -> list[Due]:
    """Decisions whose window closed by ``until`` and that were not learned from, oldest first."""
    values = {"experiment_id": experiment_id, "arm": arm, "until": until, "most": most}
    return [Due._make(row) for row in connection.execute(_DUE, values)]


def of_version(connection: Connection, version_id: int) -> list[tuple[float, Due]]:
    """What a version learned, in its order: the reward in the ledger, and the decision as the log has it now."""
    return [(row[0], Due._make(row[1:])) for row in connection.execute(_OF_VERSION, {"version_id": version_id})]


_SETTLE = text(
    """
    WITH input AS (
        SELECT * FROM json_to_recordset(:rows) AS t (
            decision_id text, unit_id text, reward float8, events int, decided_at timestamptz)
    ), settled AS (
        INSERT INTO outcomes (experiment_id, decision_id, arm, unit_id, reward, events, decided_at)
        SELECT :experiment_id, decision_id, :arm, unit_id, reward, events, decided_at FROM input
    )
    DELETE FROM awaiting_outcome a USING input i WHERE a.decision_id = i.decision_id
    """
)
_LEDGER = text(
    """
    INSERT INTO training_ledger (experiment_id, arm, decision_id, version_id, position, reward)
    SELECT :experiment_id, :arm, decision_id, :version_id, position, reward
    FROM json_to_recordset(:rows) AS t (decision_id text, position int, reward float8)
    """
)


def settle(connection: Connection, experiment_id: int, arm: str, outcomes: list[Outcome]) -> None:
    """Make outcomes final; settling a decision a second time is an error, and the round fails."""
    documents = [
        {
            "decision_id": due.id,
            "unit_id": due.unit_id,
            "reward": reward,
            "events": len(due.rewards),
            "decided_at": due.decided_at,
        }
        for due, reward in outcomes
    ]
    values = {"experiment_id": experiment_id, "arm": arm, "rows": orjson.dumps(documents).decode()}
    connection.execute(_SETTLE, values)


def write_ledger(
    connection: Connection, experiment_id: int, arm: str, version_id: int, outcomes: list[Outcome]
) -> None:
    """Record what a version learned; a decision that is in the ledger already is an error, and the round fails."""
    documents = [
        {"decision_id": due.id, "position": position, "reward": reward}
        for position, (due, reward) in enumerate(outcomes)
    ]
    values = {"experiment_id": experiment_id, "arm": arm, "version_id": version_id}
    connection.execute(_LEDGER, values | {"rows": orjson.dumps(documents).decode()})


def lag(connection: Connection) -> tuple[int, float]:
    """How many decisions are due for training, and for how many seconds the oldest has been."""
    query = """
        SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(closes_at)), 0)
        FROM awaiting_outcome WHERE closes_at <= clock_timestamp()
    """
    row = connection.execute(text(query)).one()
    return int(row[0]), float(row[1])


def ledger_size(connection: Connection, experiment_id: int) -> int:
    """Lines of the ledger of one experiment."""
    query = select(func.count()).select_from(_ledger).where(_ledger.c.experiment_id == experiment_id)
    return int(connection.execute(query).scalar_one())
