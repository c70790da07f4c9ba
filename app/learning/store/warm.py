"""The ledger of warm starts: which decisions of which experiment an arm's first model learned.

They stand apart from the arm's own ledger, so that a decision of another log never counts as one of this arm's.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import orjson
from sqlalchemy import Connection, text

from app.foundation.fields import JsonObject
from app.foundation.store.fragments import IN_KEYS, DecisionKey, decision_of, keys
from app.learning.store.training import EXAMPLE_COLUMNS, Due, as_due

SLICE: Final = 2000  # rows per statement


class Lesson(NamedTuple):
    """One decision of another log, with what is learned from it."""

    decision_id: str
    reward: float
    mixture: list[float]  # the distribution that it was drawn from, over its eligible actions


class Waiting(NamedTuple):
    """An arm for which a person asked for a warm start."""

    experiment_id: int
    arm: str


def asked(connection: Connection, experiment_id: int, arm: str) -> JsonObject | None:
    """What a person asked for, with a ``problem`` if it failed; null: nobody did, or it is done."""
    query = "SELECT warm_start FROM lineages WHERE experiment_id = :experiment_id AND arm = :arm"
    found: JsonObject | None = connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).scalar()
    return found


def ask(connection: Connection, experiment_id: int, arm: str, request: JsonObject | None) -> None:
    """Record what a person asks for; null: it is done."""
    query = "UPDATE lineages SET warm_start = :request WHERE experiment_id = :experiment_id AND arm = :arm"
    document = None if request is None else orjson.dumps(request).decode()
    connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm, "request": document})


def waiting(connection: Connection) -> list[Waiting]:
    """The arms that wait for the worker."""
    query = "SELECT experiment_id, arm FROM lineages WHERE warm_start IS NOT NULL AND warm_start->>'problem' IS NULL"
    return [Waiting(*row) for row in connection.execute(text(query))]


_ADD = text(
    """
    INSERT INTO warm_lessons (experiment_id, arm, position, source_id, decision_id, reward, mixture)
    SELECT :experiment_id, :arm, position, :source_id, decision_id, reward, mixture
    FROM json_to_recordset(:rows) AS t (position int, decision_id text, reward float8, mixture float8[])
    """
)


def add(connection: Connection, experiment_id: int, arm: str, source_id: int, lessons: Sequence[Lesson]) -> None:
    """Store what an arm's first model learns, in the order of learning."""
    for first in range(0, len(lessons), SLICE):
        part = lessons[first : first + SLICE]
        rows = [lesson._asdict() | {"position": position} for position, lesson in enumerate(part, first)]
        values = {"experiment_id": experiment_id, "arm": arm, "source_id": source_id}
        connection.execute(_ADD, values | {"rows": orjson.dumps(rows).decode()})


def exists(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Whether an arm's first model learned from another log."""
    query = "SELECT EXISTS (SELECT FROM warm_lessons WHERE experiment_id = :experiment_id AND arm = :arm)"
    return bool(connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).scalar_one())


_LESSONS = text(
    f"""
    SELECT {EXAMPLE_COLUMNS}, w.reward AS learned, w.mixture, w.source_id
    FROM warm_lessons w {decision_of("w", experiment="source_id")}
    WHERE w.experiment_id = :experiment_id AND w.arm = :arm AND d.unit_id <> '' ORDER BY w.position
    """
).execution_options(stream_results=True, max_row_buffer=5000)


def lessons(connection: Connection, experiment_id: int, arm: str) -> Iterator[tuple[float, Due]]:
    """Yield the reward and the decision of each lesson that is still there, in the order of learning."""
    for row in connection.execute(_LESSONS, {"experiment_id": experiment_id, "arm": arm}):
        yield row.learned, Due(*as_due(row))._replace(mixture=row.mixture, source_id=row.source_id)


def has_erased(connection: Connection, experiment_id: int, arm: str) -> bool:
    """Whether retention has stripped a decision that a warm start learned."""
    query = f"""
        SELECT EXISTS (SELECT FROM warm_lessons w {decision_of("w", experiment="source_id")}
            WHERE w.experiment_id = :experiment_id AND w.arm = :arm AND (d.erased_at IS NOT NULL OR d.unit_id = ''))
    """
    return bool(connection.execute(text(query), {"experiment_id": experiment_id, "arm": arm}).scalar_one())


def learners(connection: Connection, source_ids: Sequence[int]) -> list[int]:
    """Experiments with an arm whose first model learned from one of these experiments' logs, by id."""
    query = "SELECT DISTINCT experiment_id FROM warm_lessons WHERE source_id = ANY(:ids) ORDER BY 1"
    return list(connection.execute(text(query), {"ids": list(source_ids)}).scalars())


def forget(connection: Connection, decisions: list[DecisionKey]) -> int:
    """Take decisions out of all warm starts; returns how many rows there were."""
    query = f"DELETE FROM warm_lessons WHERE (source_id, decision_id) {IN_KEYS}"
    return connection.execute(text(query), keys(decisions)).rowcount
