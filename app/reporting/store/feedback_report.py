"""Reads the data of the feedback report: counts of answers, and the newest settled decisions with their answers.

Units that deny being analysed are left out everywhere.
"""

from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME, NOT_TRIAL, decision_of

_OPEN = "NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = f.unit_id AND 'analyse' = ANY(r.denied))"


class Count(NamedTuple):
    """Answers of one kind in one arm."""

    kind: str
    arm: str
    answers: int
    late: int


class Said(NamedTuple):
    """One answer, as the database's JSON has it."""

    kind: str
    value: str | int | float | None
    occurred_at: str  # ISO 8601
    feedback_id: str
    late: bool


class Reported(NamedTuple):
    """One reward, as the database's JSON has it."""

    value: float
    occurred_at: str  # ISO 8601
    reward_id: str


class Settled(NamedTuple):
    """One settled decision with its answers and rewards."""

    arm: str
    unit_id: str
    decided_at: datetime
    config_version: int
    segments: list[str]  # values of the declared fields, in their order; empty: the context has none
    reward: float  # as settled, including what answers contribute
    said: list[Said] | None  # null: nothing
    rewards: list[Reported]  # those in time; empty, and not read, without answers


class Comment(NamedTuple):
    """A comment that a person wrote."""

    decision_id: str
    action: str
    kind: str
    value: JsonValue  # as the app sent it
    comment: str
    received_at: datetime


_COUNTS = text(
    f"""
    SELECT f.kind, d.arm, count(*) AS answers, count(*) FILTER (WHERE f.late) AS late
    FROM feedback f {decision_of("f")}
    WHERE f.experiment_id = :id AND {_OPEN} AND NOT coalesce('analyse' = ANY(d.withheld), false)
    GROUP BY f.kind, d.arm ORDER BY f.kind, d.arm
    """
)
_SETTLED = text(
    f"""
    SELECT o.arm, o.unit_id, d.decided_at, d.config_version,
        ARRAY(SELECT coalesce(d.context ->> field, '') FROM unnest(CAST(:fields AS text[])) AS field) AS segments,
        o.reward, s.said,
        CASE WHEN s.said IS NULL THEN '[]' ELSE coalesce((
            SELECT json_agg(json_build_array(r.value, r.occurred_at, r.reward_id)) FROM rewards r
            WHERE r.decision_id = d.id AND r.experiment_id = d.experiment_id AND r.metric = 'reward' AND NOT r.late
        ), '[]') END AS rewards
    FROM (
        SELECT id, experiment_id, config_version, context, decided_at FROM decisions
        WHERE experiment_id = :id AND state <> 'imported' AND {NOT_TRIAL} ORDER BY decided_at DESC LIMIT :most
    ) d
    JOIN analysed o ON {ITS_OUTCOME}
    CROSS JOIN LATERAL (
        SELECT json_agg(json_build_array(f.kind, f.value, f.occurred_at, f.feedback_id, f.late)) AS said
        FROM feedback f WHERE f.decision_id = d.id AND f.experiment_id = d.experiment_id
    ) s
    ORDER BY d.decided_at, d.id
    """
)
_COMMENTS = text(
    f"""
    SELECT decision_id, action, kind, value, comment, received_at FROM (
        SELECT * FROM feedback WHERE experiment_id = :id ORDER BY received_at DESC LIMIT :scanned
    ) f WHERE comment IS NOT NULL AND {_OPEN} ORDER BY received_at DESC LIMIT :most
    """
)


def any_answers(connection: Connection, experiment_id: int) -> bool:
    """True when somebody answered."""
    query = "SELECT EXISTS (SELECT FROM feedback WHERE experiment_id = :id)"
    return bool(connection.execute(text(query), {"id": experiment_id}).scalar_one())


def is_small(connection: Connection, experiment_id: int, most: int) -> bool:
    """True when the log has at most ``most`` decisions and at most ``most`` answers."""
    query = """
        SELECT (SELECT count(*) FROM (SELECT FROM decisions WHERE experiment_id = :id LIMIT :most) d) < :most
           AND (SELECT count(*) FROM (SELECT FROM feedback WHERE experiment_id = :id LIMIT :most) f) < :most
    """
    return bool(connection.execute(text(query), {"id": experiment_id, "most": most + 1}).scalar_one())


def counts(connection: Connection, experiment_id: int) -> list[Count]:
    """All answers by kind and arm."""
    return [Count(**row._asdict()) for row in connection.execute(_COUNTS, {"id": experiment_id})]


def settled(connection: Connection, experiment_id: int, fields: list[str], most: int) -> list[Settled]:
    """The settled decisions among the newest ``most`` decisions, oldest first."""
    values = {"id": experiment_id, "fields": fields, "most": most}
    return [
        Settled(
            row.arm,
            row.unit_id,
            row.decided_at,
            row.config_version,
            row.segments,
            row.reward,
            None if row.said is None else [Said(*answer) for answer in row.said],
            [Reported(*reward) for reward in row.rewards],
        )
        for row in connection.execute(_SETTLED, values)
    ]


def comments(connection: Connection, experiment_id: int, *, most: int, scanned: int) -> list[Comment]:
    """The newest comments among the newest ``scanned`` answers."""
    values = {"id": experiment_id, "most": most, "scanned": scanned}
    return [Comment(**row._asdict()) for row in connection.execute(_COMMENTS, values)]
