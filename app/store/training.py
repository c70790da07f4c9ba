"""What a training round reads and writes: decisions that are due, their rewards, and the ledger of what was learned."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select, text

from app.store import tables

LINEAGE_LOCKS = 7_205_759  # first half of a lineage's advisory lock; the second is the hash of its name
_ledger = tables.training_ledger


class Due(NamedTuple):
    """One decision with what is needed to learn from it."""

    id: str
    config_version: int
    actions: Any  # the call's own candidates; null: the configuration's
    eligible: list[str]
    chosen: int
    propensity: float
    context: Any
    rewards: list[list[Any]]  # [value, occurred_at as ISO 8601, reward id] of those in time; empty: none


class Learned(NamedTuple):
    """One line of the ledger."""

    decision_id: str
    reward: float


def lineages_with_due_decisions(connection: Connection) -> list[tuple[int, str]]:
    """Lineages in which a reward window has closed."""
    query = "SELECT DISTINCT experiment_id, arm FROM awaiting_training WHERE closes_at <= clock_timestamp()"
    return [(row.experiment_id, row.arm) for row in connection.execute(text(query))]


def lock_lineage(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Hold a lineage alone until the transaction ends; False when somebody else holds it."""
    query = text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:name))")
    values = {"space": LINEAGE_LOCKS, "name": f"{experiment_id}/{arm}"}
    return bool(connection.execute(query, values).scalar_one())


# Rewards are joined by the learner, in Python, with the one rule that the audit uses too: SQL only gathers them.
_EXAMPLE_COLUMNS = """
    SELECT d.id, d.config_version, d.actions, d.eligible, d.chosen, d.propensity, d.context,
        coalesce((SELECT json_agg(json_build_array(r.value, r.occurred_at, r.reward_id)) FROM rewards r
            WHERE r.decision_id = d.id AND r.metric = 'reward' AND NOT r.late), '[]') AS rewards
"""
_DUE = text(
    _EXAMPLE_COLUMNS
    + """
    FROM awaiting_training a JOIN decisions d ON d.id = a.decision_id
    WHERE a.experiment_id = :experiment_id AND a.arm = :arm AND a.closes_at <= :until
    ORDER BY d.decided_at, d.id LIMIT :most
    """
)
_OF_VERSION = text(
    _EXAMPLE_COLUMNS.replace("SELECT d.id", "SELECT l.reward AS learned, d.id")
    + """
    FROM training_ledger l JOIN decisions d ON d.id = l.decision_id
    WHERE l.version_id = :version_id ORDER BY l.position
    """
)


def due(connection: Connection, experiment_id: int, arm: str, until: datetime, most: int) -> list[Due]:
    """Decisions whose window closed by ``until`` and that were not learned from, oldest first."""
    values = {"experiment_id": experiment_id, "arm": arm, "until": until, "most": most}
    return [Due._make(row) for row in connection.execute(_DUE, values)]


def of_version(connection: Connection, version_id: int) -> list[tuple[float, Due]]:
    """What a version learned, in its order: the reward in the ledger, and the decision as the log has it now."""
    return [(row[0], Due._make(row[1:])) for row in connection.execute(_OF_VERSION, {"version_id": version_id})]


_WRITE = text(
    """
    WITH input AS (SELECT * FROM json_to_recordset(:rows) AS t (decision_id text, position int, reward float8)),
    written AS (
        INSERT INTO training_ledger (experiment_id, arm, decision_id, version_id, position, reward)
        SELECT :experiment_id, :arm, decision_id, :version_id, position, reward FROM input
    )
    DELETE FROM awaiting_training a USING input i WHERE a.decision_id = i.decision_id
    """
)


def write_ledger(
    connection: Connection, experiment_id: int, arm: str, version_id: int, rows: Iterable[Learned]
) -> None:
    """Record what a version learned; a decision that is in the ledger already is an error, and the round fails."""
    documents = [{"decision_id": row.decision_id, "position": n, "reward": row.reward} for n, row in enumerate(rows)]
    values = {"experiment_id": experiment_id, "arm": arm, "version_id": version_id}
    connection.execute(_WRITE, values | {"rows": orjson.dumps(documents).decode()})


def lag(connection: Connection) -> tuple[int, float]:
    """How many decisions are due for training, and for how many seconds the oldest has been."""
    query = """
        SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(closes_at)), 0)
        FROM awaiting_training WHERE closes_at <= clock_timestamp()
    """
    row = connection.execute(text(query)).one()
    return int(row[0]), float(row[1])


def ledger_size(connection: Connection, experiment_id: int) -> int:
    """Lines of the ledger of one experiment."""
    query = select(_ledger.c.decision_id).where(_ledger.c.experiment_id == experiment_id)
    return len(connection.execute(query).all())
