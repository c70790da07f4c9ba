"""Reads and writes suspects, and the decisions that are held out for them."""

from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, bindparam, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from app.foundation.store import tables
from app.foundation.store.fragments import decision_of

_s = tables.suspects


class Criteria(NamedTuple):
    """Which decisions are meant: all that fit everything that is given. Null: anything fits."""

    suspect: int | None = None
    rule: str | None = None
    unit_id: str | None = None
    key_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class StoredSuspect(NamedTuple):
    """One suspect with the number of decisions that are held out for it now."""

    id: int
    rule: str
    unit_id: str | None
    key_id: str | None
    since: datetime | None
    until: datetime | None
    status: str  # held, released, excluded
    why: str
    actor: str
    opened_at: datetime
    decided_at: datetime | None
    receipt: dict[str, JsonValue] | None
    held: int


class Heavy(NamedTuple):
    """A unit with more decisions than it may teach."""

    unit_id: str
    held: int


_LISTED = text(
    f"""
    SELECT {", ".join(f"s.{name}" for name in StoredSuspect._fields if name != "held")},
        (SELECT count(*) FROM held_out h WHERE h.suspect_id = s.id AND h.status = 'held') AS held
    FROM suspects s WHERE s.experiment_id = :experiment_id ORDER BY s.id DESC LIMIT :most
    """
)
# Parameters have types, because PostgreSQL cannot tell them from nulls alone.
_FITS = """
    (CAST(:suspect AS bigint) IS NULL OR {suspect} = :suspect) AND (CAST(:rule AS text) IS NULL OR {a}.rule = :rule)
    AND (CAST(:unit_id AS text) IS NULL OR {b}.unit_id = :unit_id) AND (CAST(:key_id AS text) IS NULL OR {b}.key_id = :key_id)
"""
_IN_TIME = """
    d.decided_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
    AND d.decided_at < coalesce(CAST(:until AS timestamptz), 'infinity')
"""
_FITTING = text(
    f"""
    SELECT id FROM suspects s WHERE s.experiment_id = :experiment_id AND {_FITS.format(suspect="s.id", a="s", b="s")}
      AND status = ANY(:statuses) ORDER BY id FOR UPDATE
    """
)
# Only a decision that the ledger has as not learned waits for a round.
_RELEASE = text(
    f"""
    WITH fitting AS (
        SELECT h.experiment_id, h.decision_id, EXISTS (
            SELECT FROM lineages g JOIN training_ledger l ON l.experiment_id = g.experiment_id AND l.arm = g.arm
                AND l.generation = g.generation
            WHERE g.experiment_id = h.experiment_id AND g.arm = h.arm AND l.decision_id = h.decision_id AND l.version_id = 0
        ) AS waits
        FROM held_out h {decision_of("h")}
        WHERE h.experiment_id = :experiment_id AND h.status = 'held'
          AND {_FITS.format(suspect="h.suspect_id", a="h", b="d")} AND {_IN_TIME}
    ), released AS (
        UPDATE held_out h SET status = 'released', suspect_id = NULL FROM fitting f
        WHERE f.waits AND h.experiment_id = f.experiment_id AND h.decision_id = f.decision_id
    ), dropped AS (
        DELETE FROM held_out h USING fitting f
        WHERE NOT f.waits AND h.experiment_id = f.experiment_id AND h.decision_id = f.decision_id
    )
    SELECT count(*) FROM fitting
    """
)
_HOLD_PAST = text(
    """
    INSERT INTO held_out (experiment_id, decision_id, arm, rule, suspect_id, status)
    SELECT d.experiment_id, d.id, d.arm, s.rule, s.id, 'held'
    FROM suspects s JOIN decisions d ON d.experiment_id = s.experiment_id
    WHERE s.id = :suspect AND (s.unit_id IS NULL OR d.unit_id = s.unit_id) AND (s.key_id IS NULL OR d.key_id = s.key_id)
      AND d.decided_at >= coalesce(s.since, '-infinity') AND d.decided_at < coalesce(s.until, 'infinity')
      AND d.closes_at IS NOT NULL AND d.erased_at IS NULL
      AND NOT EXISTS (SELECT FROM awaiting_outcome a WHERE a.decision_id = d.id AND a.experiment_id = d.experiment_id)
    ON CONFLICT (experiment_id, decision_id) DO UPDATE SET rule = excluded.rule, suspect_id = excluded.suspect_id,
        status = 'held'
    """
)
_TAUGHT = text(
    """
    SELECT DISTINCT l.arm FROM held_out h JOIN lineages g ON g.experiment_id = h.experiment_id
    JOIN training_ledger l ON l.experiment_id = g.experiment_id + 0 AND l.arm = g.arm AND l.generation = g.generation
        AND l.decision_id = h.decision_id
    WHERE h.suspect_id = :suspect AND l.version_id <> 0 ORDER BY 1
    """
)


def add(connection: Connection, experiment_id: int, criteria: Criteria, status: str, why: str, actor: str) -> int:
    """Store a suspect; returns its id. Its rule must be given."""
    values = criteria._asdict() | {"experiment_id": experiment_id, "status": status, "why": why, "actor": actor}
    del values["suspect"]
    return int(connection.execute(insert(_s).values(**values).returning(_s.c.id)).scalar_one())


def listed(connection: Connection, experiment_id: int, most: int) -> list[StoredSuspect]:
    """The newest suspects of an experiment, newest first."""
    rows = connection.execute(_LISTED, {"experiment_id": experiment_id, "most": most})
    return [StoredSuspect(**row._asdict()) for row in rows]


def named(connection: Connection, experiment_id: int) -> set[tuple[str | None, str | None]]:
    """(unit, key) of every suspect of an experiment, also of released ones."""
    query = "SELECT DISTINCT unit_id, key_id FROM suspects WHERE experiment_id = :id"
    return {(row.unit_id, row.key_id) for row in connection.execute(text(query), {"id": experiment_id})}


def fitting(connection: Connection, experiment_id: int, criteria: Criteria, statuses: list[str]) -> list[int]:
    """Ids of the suspects that fit, whatever their time, locked until the transaction ends."""
    values = criteria._asdict() | {"experiment_id": experiment_id, "statuses": statuses}
    return list(connection.execute(_FITTING, values).scalars())


def decide(connection: Connection, suspects: list[int], status: str, *, everything: bool) -> None:
    """A person decided about suspects.

    :param everything: their decisions of all time are meant from now on.
    """
    query = """
        UPDATE suspects SET status = :status, decided_at = clock_timestamp(), receipt = NULL,
            since = CASE WHEN :everything THEN NULL ELSE since END, until = CASE WHEN :everything THEN NULL ELSE until END
        WHERE id = ANY(:ids)
    """
    connection.execute(text(query), {"ids": suspects, "status": status, "everything": everything})


def release(connection: Connection, experiment_id: int, criteria: Criteria) -> int:
    """Release the decisions that fit; returns how many. Rounds learn those that were not learned."""
    values = criteria._asdict() | {"experiment_id": experiment_id}
    return int(connection.execute(_RELEASE, values).scalar_one())


def hold_past(connection: Connection, suspect: int) -> int:
    """Hold the settled decisions of a suspect out, in every arm; returns how many. Hold the lineages first."""
    return connection.execute(_HOLD_PAST, {"suspect": suspect}).rowcount


def taught(connection: Connection, suspect: int) -> list[str]:
    """The arms whose ledger says that they learned what is held out for a suspect."""
    return list(connection.execute(_TAUGHT, {"suspect": suspect}).scalars())


def to_exclude(connection: Connection, experiment_id: int | None = None) -> list[tuple[int, int]]:
    """(experiment id, suspect) of the exclusions that models have not followed yet, in the order of requests."""
    query = """
        SELECT experiment_id, id FROM suspects WHERE status = 'excluded' AND receipt IS NULL
          AND (CAST(:id AS bigint) IS NULL OR experiment_id = :id) ORDER BY experiment_id, decided_at, id
    """
    rows = connection.execute(text(query), {"id": experiment_id})
    return [(row.experiment_id, row.id) for row in rows]


_FINISH = text("UPDATE suspects SET receipt = :receipt WHERE id = :id").bindparams(bindparam("receipt", type_=JSONB))


def finish(connection: Connection, suspect: int, receipt: dict[str, JsonValue]) -> None:
    """Keep the receipt of an exclusion."""
    connection.execute(_FINISH, {"id": suspect, "receipt": receipt})


def counts(connection: Connection, experiment_id: int) -> dict[str, int]:
    """How many decisions are held out now, by rule."""
    query = "SELECT rule, count(*) AS held FROM held_out WHERE experiment_id = :id AND status = 'held' GROUP BY rule ORDER BY 1"
    return {row.rule: row.held for row in connection.execute(text(query), {"id": experiment_id})}


def heavy(connection: Connection, experiment_id: int, rule: str, most: int) -> list[Heavy]:
    """The units with the most decisions that are held out by a rule and for no suspect."""
    query = f"""
        SELECT d.unit_id, count(*) AS held FROM held_out h {decision_of("h")}
        WHERE h.experiment_id = :id AND h.rule = :rule AND h.suspect_id IS NULL AND h.status = 'held' AND d.unit_id <> ''
        GROUP BY d.unit_id ORDER BY held DESC, d.unit_id LIMIT :most
    """
    values = {"id": experiment_id, "rule": rule, "most": most}
    return [Heavy(row.unit_id, row.held) for row in connection.execute(text(query), values)]
