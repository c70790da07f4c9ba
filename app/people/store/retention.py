"""Reads decisions that are past their experiment's retention, and writes them back without their units."""

import orjson
from sqlalchemy import Connection, select, text

from app.deciding.store.decisions import LOGGED, STORED, StoredDecision
from app.foundation.store import chain, tables
from app.foundation.store.fragments import DECISIONS_OF_IDS

_f = tables.firings
_a = tables.awaiting_outcome


def blanked(row: StoredDecision) -> StoredDecision:
    """A decision without the fields that retention removes; ``blank`` writes the same."""
    return row._replace(unit_id="", body_hash="", context={}, actions=None, ineligible=None, message=None)


def expired(connection: Connection, experiment_id: int, older_than_s: float, most: int) -> list[StoredDecision]:
    """Decisions older than ``older_than_s`` that name their unit, unless an outcome or a firing waits for them."""
    query = (
        STORED.where(
            LOGGED.c.experiment_id == experiment_id,
            text("decided_at < clock_timestamp() - make_interval(secs => :age)"),
            LOGGED.c.erased_at.is_(None),
            ~select(1).where(_a.c.decision_id == LOGGED.c.id, _a.c.experiment_id == LOGGED.c.experiment_id).exists(),
            ~select(1)
            .where(_f.c.unit_id == LOGGED.c.unit_id, _f.c.wait_decision_id == LOGGED.c.id, _f.c.status == "waiting")
            .exists(),
        )
        .order_by(LOGGED.c.decided_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return [StoredDecision._make(row) for row in connection.execute(query, {"age": older_than_s})]


_WRITE = text(
    f"""
    WITH input AS (SELECT * FROM json_to_recordset(:rows) AS i (id text, seal text)), before AS (
        SELECT d.* FROM {DECISIONS_OF_IDS}
    ), blanked AS (
    UPDATE decisions d SET unit_id = '', body_hash = '', context = '{{}}', actions = NULL, ineligible = NULL, message = NULL,
        seal = i.seal, erased_at = clock_timestamp()
    FROM input i JOIN before ON before.id = i.id
    WHERE d.id = i.id AND d.experiment_id = :experiment_id AND d.decided_at = before.decided_at RETURNING d.*
    ), resealed AS (
        SELECT * FROM before UNION ALL SELECT * FROM blanked
    )
    {chain.link(chain.DECISIONS, "resealed", 0)}
    """
)
_FORGET_SUSPECTS = text(
    """
    DELETE FROM suspects s WHERE s.experiment_id = :experiment_id AND s.unit_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM decisions d WHERE d.unit_id = s.unit_id AND d.experiment_id = s.experiment_id + 0)
    """
)
_ITS_ROWS = "experiment_id + 0 = :experiment_id AND decision_id = ANY(:ids)"
_BEFORE = (
    f"SELECT FROM deliveries WHERE {_ITS_ROWS} FOR UPDATE",  # writers of attempts have finished, or wait
    f"DELETE FROM delivery_attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE {_ITS_ROWS})",
    f"DELETE FROM deliveries WHERE {_ITS_ROWS}",
    # A cause that must not fire again is kept in a new row, because the old row's id gives the decision's id.
    f"""
    WITH gone AS (
        DELETE FROM firings f USING {DECISIONS_OF_IDS}
        WHERE f.unit_id = d.unit_id
            AND (f.decision_id = d.id OR f.wait_decision_id = d.id)
        RETURNING f.*
    )
    INSERT INTO firings (trigger_id, cause, caused_at, unit_id, request, status, priority, due_at, created_at, finished_at)
    SELECT g.trigger_id, g.cause, g.caused_at, g.unit_id, json_build_object('experiment', g.request->>'experiment'),
        g.status, g.priority, g.due_at, g.created_at, g.finished_at
    FROM gone g JOIN triggers t ON t.id = g.trigger_id
    WHERE t.definition->'pattern'->>'type' IN ('milestone', 'count')
    """,
    chain.removing(chain.FEEDBACK, f"DELETE FROM feedback WHERE {_ITS_ROWS}"),
    chain.removing(chain.OUTCOMES, f"DELETE FROM outcomes WHERE {_ITS_ROWS}"),
)


def blank(connection: Connection, experiment_id: int, seals: dict[str, str]) -> None:
    """Remove the unit from these decisions, and delete the rows that depend on it.

    :param seals: by id, the seal of the remaining row.
    """
    for statement in _BEFORE:
        values: dict[str, object] = {"ids": list(seals), "experiment_id": experiment_id} | chain.key(connection)
        connection.execute(text(statement), values)
    rows = [{"id": name, "seal": seal} for name, seal in seals.items()]
    values = {"rows": orjson.dumps(rows).decode(), "ids": list(seals), "experiment_id": experiment_id}
    values |= chain.key(connection)
    connection.execute(_WRITE, values)
    connection.execute(_FORGET_SUSPECTS, {"experiment_id": experiment_id})


# Results of an experiment would change if the events that its metrics count went.
_COUNTED_EVENTS = """
    SELECT m->'source'->>'event' AS name FROM experiments e
    JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
    CROSS JOIN LATERAL json_array_elements(c.config->'metrics') m
    WHERE e.archived_at IS NULL AND m->'source'->>'type' = 'event'
"""


def delete_events(connection: Connection, older_than_s: float, most: int) -> int:
    """Delete events that are older, except those that a metric of an experiment counts; returns their number."""
    events = tables.events
    query = f"""
        WITH counted AS ({_COUNTED_EVENTS})
        DELETE FROM {events.name} WHERE event_id IN (
            SELECT event_id FROM {events.name} e WHERE received_at < clock_timestamp() - make_interval(secs => :age)
              AND NOT EXISTS (SELECT FROM awaiting_match a WHERE a.event_id = e.event_id)
              AND NOT EXISTS (SELECT FROM counted WHERE counted.name = e.name) LIMIT :most)
    """
    return connection.execute(text(query), {"age": older_than_s, "most": most}).rowcount


def delete_firings(connection: Connection, older_than_s: float, most: int) -> int:
    """Delete firings that ended longer ago; returns their number. Keeps firings that their trigger could create again."""
    query = """
        DELETE FROM firings WHERE id IN (
            SELECT f.id FROM firings f JOIN triggers t ON t.id = f.trigger_id
            WHERE f.status <> 'waiting' AND f.finished_at < clock_timestamp() - make_interval(secs => :age)
              AND t.definition->'pattern'->>'type' <> 'milestone' LIMIT :most)
    """
    return connection.execute(text(query), {"age": older_than_s, "most": most}).rowcount


def kept_experiments(connection: Connection) -> list[tuple[int, float]]:
    """(experiment id, seconds) of the experiments with a retention."""
    query = """
        SELECT e.id, (c.config->>'retention_s')::float8 AS retention_s FROM experiments e
        JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
        WHERE c.config->>'retention_s' IS NOT NULL ORDER BY e.id
    """
    return [(row.id, row.retention_s) for row in connection.execute(text(query))]
