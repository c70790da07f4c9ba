"""The decision log for people: newest first, a page at a time, and everything that belongs to one decision.

No query reads more than a bounded number of rows: an index finds time, unit and id; an action
or an arm is looked for in a limited number of the newest rows.
"""

from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME, OF_ID
from app.learning.store.rewards import StoredReward

Place = tuple[datetime, str]  # (decided at, id): where a page ends


class Listed(NamedTuple):
    """One decision in a list."""

    id: str
    unit_id: str
    arm: str
    action: str
    propensity: float
    policy_version: int
    state: str
    decided_at: datetime
    closes_at: datetime | None
    channel: str | None  # of the message; null: nothing was said
    withheld: list[str] | None  # purposes without consent when it was made; null: none
    holdout: bool | None  # true: its unit was in the global holdout
    erased_at: datetime | None  # when its unit was forgotten
    reward: float | None  # joined when the window closed; null: not yet, or never


class Settled(NamedTuple):
    """The outcome of a decision."""

    reward: float
    events: int
    settled_at: datetime
    feedback_version: int  # of the schema that joined it


class Learned(NamedTuple):
    """The round that learned a decision."""

    version_id: int
    number: int  # of the version that the round made
    position: int  # order within the round, from 0
    reward: float  # as learned


class Wanted(NamedTuple):
    """Which decisions are read; null: any."""

    unit_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: Place | None = None


class Picked(NamedTuple):
    """The filters among the read decisions; null: any."""

    arm: str | None = None
    action: str | None = None


class ContextRow(NamedTuple):
    """The input of a model for one decision."""

    config_version: int
    actions: list[dict[str, JsonValue]] | None  # those that the call named; null: the configuration's
    eligible: list[str]
    context: dict[str, JsonValue]
    decided_at: datetime


_COLUMNS = """
    d.id, d.unit_id, d.arm, coalesce(d.eligible[d.chosen + 1], '') AS action, d.propensity, d.policy_version, d.state,
    d.decided_at, d.closes_at, d.channel, d.withheld, d.holdout, d.erased_at
"""
_LISTED = ", ".join(f"d.{name}" for name in Listed._fields[:-1])
_PARTS = {
    "unit_id": "AND d.unit_id = :unit_id",
    "since": "AND d.decided_at >= :since",
    "until": "AND d.decided_at < :until",
    "before": "AND d.decided_at <= :before_at AND (d.decided_at, d.id) < (:before_at, :before_id)",
}


def _scan(wanted: Wanted) -> str:
    """The statement for the rows to read, newest first. It consists of constant text only."""
    parts = " ".join(part for name, part in _PARTS.items() if getattr(wanted, name) is not None)
    return f"""
        SELECT {_COLUMNS}, d.experiment_id FROM decisions d WHERE d.experiment_id = :experiment_id {parts}
        ORDER BY d.decided_at DESC, d.id DESC LIMIT :scanned
    """


def _values(experiment_id: int, scanned: int, wanted: Wanted) -> dict[str, str | int | datetime | None]:
    at, last = wanted.before or (None, None)
    return {
        "experiment_id": experiment_id,
        "unit_id": wanted.unit_id,
        "since": wanted.since,
        "until": wanted.until,
        "before_at": at,
        "before_id": last,
        "scanned": scanned,
    }


def page(
    connection: Connection, experiment_id: int, wanted: Wanted, picked: Picked, *, most: int, scanned: int
) -> list[Listed]:
    """Decisions newest first; arm and action are looked for in ``scanned`` rows."""
    query = f"""
        WITH page AS (
            SELECT * FROM ({_scan(wanted)}) looked
            WHERE (CAST(:arm AS text) IS NULL OR arm = :arm) AND (CAST(:action AS text) IS NULL OR action = :action)
            ORDER BY decided_at DESC, id DESC LIMIT :most
        )
        SELECT {_LISTED}, o.reward FROM page d
        LEFT JOIN outcomes o ON {ITS_OUTCOME}
        ORDER BY d.decided_at DESC, d.id DESC
    """
    values = _values(experiment_id, scanned, wanted) | picked._asdict() | {"most": most}
    return [Listed(**row._asdict()) for row in connection.execute(text(query), values)]


def reached(connection: Connection, experiment_id: int, wanted: Wanted, *, scanned: int) -> Place | None:
    """Where a search that looked through ``scanned`` rows ended; null when there were fewer rows than that."""
    query = f"SELECT decided_at, id, count(*) OVER () AS looked_at FROM ({_scan(wanted)}) looked ORDER BY decided_at, id LIMIT 1"
    row = connection.execute(text(query), _values(experiment_id, scanned, wanted)).first()
    return None if row is None or row.looked_at < scanned else (row.decided_at, row.id)


def by_id(connection: Connection, experiment_id: int, decision_id: str) -> list[Listed]:
    """The decision with that id, if it belongs to the experiment."""
    query = f"""
        SELECT {_COLUMNS}, o.reward FROM decisions d
        LEFT JOIN outcomes o ON {ITS_OUTCOME}
        WHERE {OF_ID}
    """
    rows = connection.execute(text(query), {"id": decision_id, "experiment_id": experiment_id})
    return [Listed(**row._asdict()) for row in rows]


def newest_contexts(connection: Connection, experiment_id: int, most: int) -> list[dict[str, JsonValue]]:
    """Contexts of the newest decisions."""
    query = "SELECT context FROM decisions WHERE experiment_id = :id ORDER BY decided_at DESC LIMIT :most"
    return list(connection.execute(text(query), {"id": experiment_id, "most": most}).scalars())


def newest_of_arm(connection: Connection, experiment_id: int, arm: str, *, most: int, scanned: int) -> list[ContextRow]:
    """The newest decisions of an arm among the newest ``scanned``.

    Without those whose context is forgotten.
    """
    query = """
        SELECT d.config_version, d.actions, d.eligible, d.context, d.decided_at FROM decisions d JOIN (
            SELECT id, decided_at FROM (
                SELECT id, arm, decided_at, erased_at FROM decisions WHERE experiment_id = :id
                ORDER BY decided_at DESC LIMIT :scanned
            ) looked WHERE arm = :arm AND erased_at IS NULL ORDER BY decided_at DESC LIMIT :most
        ) found ON found.id = d.id AND d.experiment_id = :id AND d.decided_at = found.decided_at ORDER BY d.decided_at DESC, d.id
    """
    parameters = {"id": experiment_id, "arm": arm, "most": most, "scanned": scanned}
    return [ContextRow(**row._asdict()) for row in connection.execute(text(query), parameters)]


def events(connection: Connection, experiment_id: int, decision_id: str, most: int) -> list[StoredReward]:
    """Reward events of one decision, in the order of their arrival."""
    query = f"""
        SELECT {", ".join(StoredReward._fields)} FROM rewards
        WHERE decision_id = :id AND experiment_id + 0 = :experiment_id ORDER BY received_at, reward_id LIMIT :most
    """
    values = {"experiment_id": experiment_id, "id": decision_id, "most": most}
    return [StoredReward(**row._asdict()) for row in connection.execute(text(query), values)]


def settled(connection: Connection, experiment_id: int, decision_id: str) -> Settled | None:
    """The final outcome; null while the decision waits for it, or when it never gets one."""
    query = text(
        "SELECT reward, events, settled_at, feedback_version FROM outcomes"
        " WHERE experiment_id = :experiment_id AND decision_id = :id"
    )
    row = connection.execute(query, {"experiment_id": experiment_id, "id": decision_id}).first()
    return None if row is None else Settled(**row._asdict())


def learned(connection: Connection, experiment_id: int, arm: str, decision_id: str) -> Learned | None:
    """The version whose round learned a decision, or that was rebuilt with it since; null: none."""
    query = text(
        """
        SELECT l.version_id, m.number, l.position, l.reward FROM training_ledger l
        JOIN lineages g ON g.experiment_id = l.experiment_id AND g.arm = l.arm AND g.generation = l.generation
        JOIN model_versions m ON m.id = l.version_id
        WHERE l.experiment_id = :experiment_id AND l.arm = :arm AND l.decision_id = :id
        """
    )
    row = connection.execute(query, {"experiment_id": experiment_id, "arm": arm, "id": decision_id}).first()
    return None if row is None else Learned(**row._asdict())


_DESCENDS = text(
    """
    WITH RECURSIVE up AS (
        SELECT id, parent_id, 0 AS steps FROM model_versions WHERE id = :version_id
        UNION ALL
        SELECT m.id, m.parent_id, up.steps + 1 FROM up JOIN model_versions m ON m.id = up.parent_id
        WHERE up.id <> :ancestor_id AND up.steps < :most
    )
    SELECT bool_or(id = :ancestor_id) AS found, max(steps) AS steps FROM up
    """
)


def descends(connection: Connection, version_id: int, ancestor_id: int, most: int = 20_000) -> bool | None:
    """Whether a version descends from another (or is the same); null after ``most`` rounds without an answer."""
    parameters = {"version_id": version_id, "ancestor_id": ancestor_id, "most": most}
    row = connection.execute(_DESCENDS, parameters).one()
    return None if not row.found and row.steps >= most else bool(row.found)
