"""Queries of a rebuild: what the serving version learned, all outcomes, and the next generation of the ledger."""

from collections.abc import Iterator

import orjson
from sqlalchemy import Connection, text

from app.foundation.fields import JsonObject
from app.learning.store.training import EXAMPLE_COLUMNS, Due, Generation, rounds_of

SLICE = 2000  # rows per query


# The serving version and its ancestors, back to the version that began with the untrained model. Versions that a rollback
# abandoned are not among them.
_LINE = text(
    """
    WITH RECURSIVE line AS (
        SELECT m.id, m.parent_id, m.kind FROM lineages g JOIN model_versions m ON m.id = g.serving_version_id
        WHERE g.experiment_id = :experiment_id AND g.arm = :arm
        UNION ALL
        SELECT m.id, m.parent_id, m.kind FROM line JOIN model_versions m ON m.id = line.parent_id
        WHERE line.kind = 'incremental'
    )
    SELECT m.id, m.manifest->'rounds' AS rounds FROM line JOIN model_versions m ON m.id = line.id ORDER BY m.id
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


def rounds(connection: Connection, experiment_id: int, arm: str) -> Iterator[list[Due]]:
    """Yield the decisions that the serving version of an arm learned from, round by round, in the order of learning."""
    line = connection.execute(_LINE, {"experiment_id": experiment_id, "arm": arm}).all()
    for version_id, sizes in line:
        for learned in rounds_of(connection, version_id, sizes):
            yield [
                due for _, due in learned if due.unit_id
            ]  # without decisions that retention has stripped: see app.people.store.retention


def begin_generation(connection: Connection, after: Generation) -> None:
    """Make the next generation the current one. Decisions that are missing in it are added to it as not learned."""
    experiment_id, arm, number = after
    values = {"experiment_id": experiment_id, "arm": arm, "generation": number}
    connection.execute(_CARRY, values)
    connection.execute(_ADVANCE, {"experiment_id": experiment_id, "arm": arm})


_OUTCOMES = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}
    FROM outcomes o JOIN decisions d ON d.id = o.decision_id
    WHERE o.experiment_id = :experiment_id AND d.state <> 'imported' AND o.decision_id > :after
    ORDER BY o.decision_id LIMIT :most
    """
)
_SETTLE_AGAIN = text(
    """
    UPDATE outcomes o SET reward = i.reward, events = i.events, feedback_version = :version,
        settled_at = clock_timestamp()
    FROM json_to_recordset(:rows) AS i (decision_id text, reward float8, events int)
    WHERE o.experiment_id = :experiment_id AND o.decision_id = i.decision_id
    """
)


def outcomes(connection: Connection, experiment_id: int) -> Iterator[list[Due]]:
    """Yield all settled decisions of this installation, without imported ones, one slice at a time."""
    after = ""
    while True:
        values = {"experiment_id": experiment_id, "after": after, "most": SLICE}
        rows = [Due._make(row) for row in connection.execute(_OUTCOMES, values)]
        if not rows:
            return
        yield rows
        after = rows[-1].id


def settle_again(connection: Connection, experiment_id: int, version: int, rows: list[JsonObject]) -> None:
    """Update outcomes to their values under a feedback schema.

    :param rows: documents with decision_id, reward and events.
    """
    values = {"experiment_id": experiment_id, "version": version, "rows": orjson.dumps(rows).decode()}
    connection.execute(_SETTLE_AGAIN, values)


def has_ledger(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Return True if the ledger of an arm has any decision, learned or not."""
    query = "SELECT EXISTS (SELECT FROM training_ledger WHERE experiment_id = :experiment_id AND arm = :arm)"
    return bool(connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).scalar_one())
