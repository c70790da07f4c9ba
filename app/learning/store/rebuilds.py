"""Queries of a rebuild: what the serving version learned, all outcomes, and the next generation of the ledger."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import orjson
from sqlalchemy import Connection, text

from app.foundation.fields import JsonObject
from app.foundation.store import chain
from app.foundation.store.engine import AnyRow
from app.foundation.store.fragments import decision_of
from app.learning.store import warm
from app.learning.store.training import EXAMPLE_COLUMNS, OWNER_COLUMNS, Due, Generation, Owner, as_due, rounds_of

SLICE = 2000  # rows per query


# A version and its ancestors, back to the version that began with the untrained model. A refit learns nothing new, so it is
# followed too. Versions that a rollback abandoned are not among them.
_UP = """
    WITH RECURSIVE line AS (
        SELECT id, parent_id, kind FROM model_versions WHERE id = :version_id
        UNION ALL
        SELECT m.id, m.parent_id, m.kind FROM line JOIN model_versions m ON m.id = line.parent_id
        WHERE line.kind <> 'rebuild'
    )
"""
_LINE = text(
    _UP
    + """
    SELECT m.id, m.manifest->'rounds' AS rounds,
        CASE WHEN m.kind IN ('incremental', 'rebuild', 'staged') THEN (m.manifest->>'decisions')::int ELSE 0 END AS decisions,
        CASE WHEN m.kind = 'challenger' THEN CAST(m.manifest->>'since' AS timestamptz) END AS since,
        m.experiment_id, m.arm, jsonb_exists(m.manifest, 'warm') AS warm
    FROM line JOIN model_versions m ON m.id = line.id ORDER BY m.id
    """
)
_OWNERS = text(
    _UP
    + f"""
    SELECT line.id AS version_id, {OWNER_COLUMNS} FROM line
    JOIN training_ledger l ON l.version_id = line.id {decision_of("l")}
    WHERE d.unit_id <> '' ORDER BY line.id, l.position
    """
)
_CARRY = text(
    """
    INSERT INTO training_ledger (experiment_id, arm, generation, decision_id, version_id, position, reward)
    SELECT o.experiment_id, o.arm, :generation + 1, o.decision_id, 0, o.position, o.reward
    FROM training_ledger o WHERE o.experiment_id = :experiment_id AND o.arm = :arm AND o.generation = :generation
    ON CONFLICT DO NOTHING
    """
)
_ADVANCE = text("UPDATE lineages SET generation = generation + 1 WHERE experiment_id = :experiment_id AND arm = :arm")


def rounds(connection: Connection, version_id: int, most: int | None = None) -> Iterator[list[tuple[float, Due]]]:
    """Yield what a version and its ancestors learned from, round by round, in the order of learning.

    Each decision comes with the reward in the ledger. Decisions that retention has stripped are left out, see
    ``app.people.store.retention``, and so are those from before a change after which a challenger learned anew.

    :param most: number of newest decisions to reach at least; earlier rounds are not read. None: all.
    """
    line = connection.execute(_LINE, {"version_id": version_id}).all()
    newest = 0
    first = len(line)
    while first > 0 and (most is None or newest < most):
        first -= 1
        newest += line[first].decisions
    warm_start = next((version for version in line if version.warm), None)
    if warm_start is not None and first == 0:
        began = _since(line, 0)
        found = warm.lessons(connection, warm_start.experiment_id, warm_start.arm)
        yield [(reward, due) for reward, due in found if due.decided_at >= began]
    for id_, sizes, *_ in line[first:]:
        since = _since(line, id_)
        for learned in rounds_of(connection, id_, sizes):
            yield [(reward, due) for reward, due in learned if due.unit_id and due.decided_at >= since]


def _since(line: Sequence[AnyRow], version_id: int) -> datetime:
    """The change of the world after which what a version learned still counts: a later challenger says so."""
    changes = [version.since for version in line if version.since is not None and version.id > version_id]
    return max(changes, default=datetime.min.replace(tzinfo=UTC))


def owners(connection: Connection, version_id: int) -> list[Owner]:
    """Return whose decisions ``rounds`` yields, in the same order."""
    line = connection.execute(_LINE, {"version_id": version_id}).all()
    since = {version.id: _since(line, version.id) for version in line}
    rows = [(row[0], Owner._make(row[1:])) for row in connection.execute(_OWNERS, {"version_id": version_id})]
    return [owner for id_, owner in rows if owner.decided_at >= since[id_]]


def line_has_erased(connection: Connection, version_id: int) -> bool:
    """Return True if a decision that a version or an ancestor learned from was erased or stripped by retention."""
    query = f"""
        SELECT EXISTS (SELECT FROM line JOIN training_ledger l ON l.version_id = line.id
            {decision_of("l")}
            WHERE d.erased_at IS NOT NULL OR d.unit_id = '')
    """
    if connection.execute(text(_UP + query), {"version_id": version_id}).scalar_one():
        return True
    line = connection.execute(_LINE, {"version_id": version_id}).all()
    return any(version.warm and warm.has_erased(connection, version.experiment_id, version.arm) for version in line)


def begin_generation(connection: Connection, after: Generation) -> None:
    """Make the next generation the current one. Decisions that are missing in it are added to it as not learned."""
    experiment_id, arm, number = after
    values = {"experiment_id": experiment_id, "arm": arm, "generation": number}
    connection.execute(_CARRY, values)
    connection.execute(_ADVANCE, {"experiment_id": experiment_id, "arm": arm})


_OUTCOMES = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}
    FROM outcomes o {decision_of("o", "o.decided_at")}
    WHERE o.experiment_id = :experiment_id AND d.state <> 'imported' AND o.decision_id > :after
    ORDER BY o.decision_id LIMIT :most
    """
)
_SETTLE_AGAIN = text(
    f"""
    WITH input AS (
        SELECT * FROM json_to_recordset(:rows) AS i (decision_id text, reward float8, events int)
    ), before AS (
        SELECT o.* FROM outcomes o JOIN input i ON i.decision_id = o.decision_id
        WHERE o.experiment_id = :experiment_id FOR UPDATE OF o
    ), settled AS (
    UPDATE outcomes o SET reward = i.reward, events = i.events, feedback_version = :version,
        settled_at = statement_timestamp()
    FROM input i JOIN before ON before.decision_id = i.decision_id
    WHERE o.experiment_id = :experiment_id AND o.decision_id = i.decision_id
    RETURNING o.*
    ), removed AS ({chain.link(chain.OUTCOMES, "before", -1)})
    SELECT * FROM removed UNION ALL {chain.link(chain.OUTCOMES, "settled")}
    """
)


def outcomes(connection: Connection, experiment_id: int) -> Iterator[list[Due]]:
    """Yield all settled decisions of this installation, without imported ones, one slice at a time."""
    after = ""
    while True:
        values = {"experiment_id": experiment_id, "after": after, "most": SLICE}
        rows = [Due(*row) for row in connection.execute(_OUTCOMES, values)]
        if not rows:
            return
        yield rows
        after = rows[-1].id


_NEWEST_OUTCOMES = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}, o.arm, o.reward AS settled FROM (
        SELECT * FROM outcomes WHERE experiment_id = :experiment_id AND NOT holdout ORDER BY settled_at DESC LIMIT :most
    ) o {decision_of("o", "o.decided_at")} WHERE d.state <> 'imported' AND d.erased_at IS NULL
    """
)


def newest_outcomes(connection: Connection, experiment_id: int, most: int) -> list[tuple[str, float, Due]]:
    """Return arm, settled reward and decision of the newest settled decisions that were made here."""
    rows = connection.execute(_NEWEST_OUTCOMES, {"experiment_id": experiment_id, "most": most})
    return [(row.arm, row.settled, Due(*as_due(row))) for row in rows]


def settle_again(connection: Connection, experiment_id: int, version: int, rows: list[JsonObject]) -> None:
    """Update outcomes to their values under a feedback schema.

    :param rows: documents with decision_id, reward and events.
    """
    values = {"experiment_id": experiment_id, "version": version, "rows": orjson.dumps(rows).decode()}
    connection.execute(_SETTLE_AGAIN, values | chain.key(connection))


def has_ledger(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Return True if the ledger of an arm has any decision, learned or not."""
    query = "SELECT EXISTS (SELECT FROM training_ledger WHERE experiment_id = :experiment_id AND arm = :arm)"
    return bool(connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).scalar_one())


def wanting_refit(connection: Connection) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm whose serving version says that a refit is due, or for which a person asked.

    Another candidate than the version's may have been pinned, too.
    """
    query = """
        SELECT g.experiment_id, g.arm FROM lineages g JOIN model_versions m ON m.id = g.serving_version_id
        WHERE g.rebuild_asked_at IS NOT NULL OR (g.problem IS NULL AND (
            (m.manifest->'learner'->>'wants_fit')::boolean OR (
                m.manifest->'learner'->>'served' IS NOT NULL
                AND g.pinned IS DISTINCT FROM m.manifest->'learner'->>'pinned'
            )
        ))
    """
    return [(row.experiment_id, row.arm) for row in connection.execute(text(query))]


def ask(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Record that a person asks for a rebuild; returns False if the arm does not learn."""
    query = """
        UPDATE lineages SET rebuild_asked_at = coalesce(rebuild_asked_at, clock_timestamp())
        WHERE experiment_id = :experiment_id AND arm = :arm
    """
    return connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).rowcount > 0


def done(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Forget that a person asked for a rebuild; returns whether one did."""
    query = """
        UPDATE lineages SET rebuild_asked_at = NULL
        WHERE experiment_id = :experiment_id AND arm = :arm AND rebuild_asked_at IS NOT NULL
    """
    return connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).rowcount > 0


def pin(connection: Connection, experiment_id: int, arm: str, candidate: str) -> None:
    """Pin a candidate of the race of an arm; "" lets its policy decide again."""
    query = "UPDATE lineages SET pinned = :candidate WHERE experiment_id = :experiment_id AND arm = :arm"
    values = {"experiment_id": experiment_id, "arm": arm, "candidate": candidate or None}
    connection.execute(text(query), values)


def pinned(connection: Connection, experiment_id: int, arm: str) -> str:
    """Return the candidate that a person pinned, or ""."""
    query = "SELECT coalesce(pinned, '') FROM lineages WHERE experiment_id = :experiment_id AND arm = :arm"
    return str(connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).scalar() or "")
