"""Reads logged choices and their propensities for the health checks, a slice at a time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, text


class Choice(NamedTuple):
    """One decision as a health check sees it."""

    arm: str
    policy_version: int
    segment: str | None
    eligible: list[str]
    distribution: list[float]
    chosen: int


def newest(connection: Connection, experiment_id: int, segment: str | None, most: int) -> Iterator[list[Choice]]:
    """The newest activated decisions in slices of 5,000; what was deferred and never shown is no exposure."""
    field = "NULL" if segment is None else "coalesce(context ->> :segment, '')"
    query = f"""
        SELECT arm, policy_version, {field}, eligible, distribution, chosen FROM decisions
        WHERE experiment_id = :id AND state = 'active' ORDER BY decided_at DESC LIMIT :most
    """
    given: dict[str, Any] = {"id": experiment_id, "most": most}
    if segment is not None:
        given["segment"] = segment
    streamed = text(query).execution_options(stream_results=True, max_row_buffer=5000)
    for part in connection.execute(streamed, given).partitions(5000):
        yield [Choice._make(row) for row in part]


def waiting(connection: Connection, experiment_id: int) -> tuple[int, int]:
    """(decisions whose outcome is open, rewards that came late)."""
    open_query = "SELECT count(*) FROM awaiting_outcome WHERE experiment_id = :id"
    late_query = "SELECT count(*) FROM rewards WHERE experiment_id = :id AND late"
    given = {"id": experiment_id}
    return (
        int(connection.execute(text(open_query), given).scalar_one()),
        int(connection.execute(text(late_query), given).scalar_one()),
    )
