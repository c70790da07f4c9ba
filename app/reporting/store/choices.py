"""Reads logged choices and their propensities for the health checks, a slice at a time."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, text


class Choice(NamedTuple):
    """The fields of a decision that a health check reads."""

    arm: str
    policy_version: int
    segment: str | None
    eligible: list[str]
    distribution: list[float]
    chosen: int


def newest(connection: Connection, experiment_id: int, segment: str | None, most: int) -> Iterator[list[Choice]]:
    """The newest activated decisions in slices of 5,000. Deferred decisions that were never shown are left out."""
    field = "NULL" if segment is None else "coalesce(context ->> :segment, '')"
    query = f"""
        SELECT arm, policy_version, {field} AS segment, eligible, distribution, chosen FROM decisions
        WHERE experiment_id = :id AND state = 'active' AND holdout IS NULL ORDER BY decided_at DESC LIMIT :most
    """
    given: dict[str, str | int] = {"id": experiment_id, "most": most}
    if segment is not None:
        given["segment"] = segment
    streamed = text(query).execution_options(stream_results=True, max_row_buffer=5000)
    for part in connection.execute(streamed, given).partitions(5000):
        yield [Choice(**row._asdict()) for row in part]


class OpenRewards(NamedTuple):
    waiting: int  # decisions whose outcome is open
    late: int  # rewards that came after their window


def open_rewards(connection: Connection, experiment_id: int) -> OpenRewards:
    """Count the rewards that the outcomes of an experiment do not contain."""
    query = """
        SELECT (SELECT count(*) FROM awaiting_outcome WHERE experiment_id = :id) AS waiting,
               (SELECT count(*) FROM rewards WHERE experiment_id = :id AND late) AS late
    """
    row = connection.execute(text(query), {"id": experiment_id}).one()
    return OpenRewards(row.waiting, row.late)
