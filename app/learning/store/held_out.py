"""Decisions that are held out of rounds, whose they are, and what a model learned lately of each unit."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from app.foundation.store.fragments import decision_of
from app.learning.store.training import EXAMPLE_COLUMNS, Due, Generation, Owner, as_due

HELD, RELEASED = "held", "released"


class HeldOut(NamedTuple):
    """One decision that is not learned for now."""

    decision_id: str
    rule: str
    suspect_id: int | None  # null: held by the bound on its unit's share


class Suspect(NamedTuple):
    """Whose decisions are held out of rounds: those of a unit, of an API key, of a time, or of all that is given of them."""

    id: int
    rule: str
    unit_id: str | None
    key_id: str | None
    since: datetime | None
    until: datetime | None

    def holds(self, due: Due | Owner) -> bool:
        """Return True if a decision is one of these."""
        return (
            self.unit_id in (None, due.unit_id)
            and self.key_id in (None, due.key_id)
            and (self.since is None or due.decided_at >= self.since)
            and (self.until is None or due.decided_at < self.until)
        )


# A version and its ancestors, back to the first with so many decisions; a rebuild has no ancestors that it learned from.
_LATELY = text(
    f"""
    WITH RECURSIVE line AS (
        SELECT id, parent_id, kind, CASE WHEN kind IN ('incremental', 'rebuild', 'staged')
            THEN (manifest->>'decisions')::int ELSE 0 END AS learned
        FROM model_versions WHERE id = :version_id
        UNION ALL
        SELECT m.id, m.parent_id, m.kind, line.learned + CASE WHEN m.kind IN ('incremental', 'rebuild', 'staged')
            THEN (m.manifest->>'decisions')::int ELSE 0 END
        FROM line JOIN model_versions m ON m.id = line.parent_id
        WHERE line.kind <> 'rebuild' AND line.learned < :most
    )
    SELECT d.unit_id, count(*) AS learned FROM line CROSS JOIN LATERAL (
        SELECT experiment_id, decision_id FROM training_ledger
        WHERE version_id = line.id ORDER BY position DESC LIMIT :most
    ) l {decision_of("l")} WHERE d.unit_id <> '' GROUP BY d.unit_id
    """
)
_SUSPECTS = text(
    """
    SELECT id, rule, unit_id, key_id, since, until FROM suspects
    WHERE experiment_id = :experiment_id AND status = ANY(:statuses) ORDER BY id
    """
)
_ADD = text(
    f"""
    INSERT INTO held_out (experiment_id, decision_id, arm, rule, suspect_id, status)
    SELECT :experiment_id, t.decision_id, :arm, t.rule, t.suspect_id, 'held'
    FROM json_to_recordset(:rows) AS t (experiment_id bigint, decision_id text, rule text, suspect_id bigint)
    {decision_of("t")} WHERE d.arm = :arm
    ON CONFLICT (experiment_id, decision_id) DO UPDATE SET rule = excluded.rule, suspect_id = excluded.suspect_id,
        status = excluded.status, held_at = clock_timestamp()
    """
)
_RELEASED = text(
    f"""
    SELECT {EXAMPLE_COLUMNS} FROM held_out h {decision_of("h")}
    WHERE h.experiment_id = :experiment_id AND h.arm = :arm AND h.status = 'released'
    ORDER BY d.decided_at, d.id LIMIT :most FOR UPDATE OF h
    """
)
_LEARNED = text(
    """
    UPDATE training_ledger l SET version_id = :version_id, position = t.position, reward = t.reward
    FROM json_to_recordset(:rows) AS t (decision_id text, position int, reward float8)
    WHERE l.experiment_id = :experiment_id AND l.arm = :arm AND l.generation = :generation
      AND l.decision_id = t.decision_id AND l.version_id = 0
    """
)


def learned_lately(connection: Connection, version_id: int, most: int) -> dict[str, int]:
    """Count by unit what a version and its ancestors learned, of about the newest ``most`` decisions."""
    rows = connection.execute(_LATELY, {"version_id": version_id, "most": most})
    return {row.unit_id: row.learned for row in rows}


def suspects(connection: Connection, experiment_id: int, *, excluded: bool = False) -> list[Suspect]:
    """Return those whose decisions of an experiment are held out.

    :param excluded: only those whose decisions of the past are not learned either.
    """
    statuses = ["excluded"] if excluded else ["held", "excluded"]
    rows = connection.execute(_SUSPECTS, {"experiment_id": experiment_id, "statuses": statuses})
    return [Suspect._make(row) for row in rows]


def add(connection: Connection, experiment_id: int, arm: str, rows: Sequence[HeldOut]) -> None:
    """Hold decisions of an arm out. One that is held out already, or was released, is now held by this rule.

    Decisions of other arms, which a staged arm has learned, are that arm's to hold.
    """
    if rows:
        values = {"experiment_id": experiment_id, "arm": arm}
        connection.execute(
            _ADD,
            values
            | {"rows": orjson.dumps([row._asdict() | {"experiment_id": experiment_id} for row in rows]).decode()},
        )


def arms_with_released(connection: Connection) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm in which released decisions wait for a round."""
    query = "SELECT DISTINCT experiment_id, arm FROM held_out WHERE status = 'released'"
    return [(row.experiment_id, row.arm) for row in connection.execute(text(query))]


def released(connection: Connection, experiment_id: int, arm: str, most: int) -> list[Due]:
    """Return up to ``most`` decisions of an arm that were released and not learned since, oldest first."""
    values = {"experiment_id": experiment_id, "arm": arm, "most": most}
    return [Due(*as_due(row)) for row in connection.execute(_RELEASED, values)]


def forget(connection: Connection, experiment_id: int, decisions: Sequence[str]) -> None:
    """Remove the lines of decisions that are not held out any more."""
    query = "DELETE FROM held_out WHERE experiment_id = :id AND decision_id = ANY(:decisions)"
    connection.execute(text(query), {"id": experiment_id, "decisions": list(decisions)})


def mark_learned(
    connection: Connection, generation: Generation, version_id: int, rewards: Sequence[tuple[str, float]], first: int
) -> None:
    """Record that a version learned released decisions, which the ledger has as not learned.

    :param rewards: (decision id, reward) in the order of learning.
    :param first: the position of the first decision.
    :raises RuntimeError: one of them is not in the ledger, or was learned: then the round must fail.
    """
    rows = [
        {"decision_id": decision_id, "position": position, "reward": reward}
        for position, (decision_id, reward) in enumerate(rewards, first)
    ]
    experiment_id, arm, number = generation
    values = {"experiment_id": experiment_id, "arm": arm, "generation": number, "version_id": version_id}
    done = connection.execute(_LEARNED, values | {"rows": orjson.dumps(rows).decode()}).rowcount
    if done != len(rows):
        raise RuntimeError(f"{len(rows) - done} released decisions of arm {arm!r} are not waiting in the ledger")
