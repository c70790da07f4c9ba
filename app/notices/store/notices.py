"""Reads and writes notices, and the messages that each one makes."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

PLATFORM = 0  # in place of an experiment's id


class StoredNotice(NamedTuple):
    """One notice."""

    id: int
    experiment_id: int
    topic: str
    condition: str
    text: str
    began_at: datetime
    gone_since: datetime | None
    ended_at: datetime | None


def still_open(connection: Connection) -> list[StoredNotice]:
    """Every notice whose condition holds."""
    query = "SELECT * FROM notices WHERE ended_at IS NULL ORDER BY id"
    return [StoredNotice(**row._asdict()) for row in connection.execute(text(query))]


_BEGIN = text(
    """
    INSERT INTO notices (experiment_id, topic, condition, text)
    SELECT :experiment_id, :topic, CAST(:condition AS text), :text
    WHERE NOT (:once AND EXISTS (
        SELECT FROM notices n WHERE n.experiment_id = :experiment_id AND n.condition = :condition))
    ON CONFLICT (experiment_id, condition) WHERE ended_at IS NULL DO NOTHING RETURNING id
    """
)


def begin(
    connection: Connection, experiment_id: int, topic: str, condition: str, words: str, *, once: bool
) -> int | None:
    """Store a notice and a message to each receiver that wants it.

    :param once: not if there ever was a notice of this condition.
    :returns: its id; None if it is open already, or was.
    """
    values = {"experiment_id": experiment_id, "topic": topic, "condition": condition, "text": words, "once": once}
    notice_id: int | None = connection.execute(_BEGIN, values).scalar_one_or_none()
    if notice_id is not None:
        connection.execute(_TELL, {"id": notice_id})
    return notice_id


_TELL = text(
    """
    INSERT INTO notice_messages (notice_id, receiver_id, state)
    SELECT n.id, r.id, 'opened' FROM notices n
    LEFT JOIN experiments e ON e.id = n.experiment_id
    JOIN notice_receivers r ON r.status = 'running' AND r.topics ? n.topic
        AND (jsonb_array_length(r.experiments) = 0 OR r.experiments ? e.key)
    WHERE n.id = :id AND NOT EXISTS (SELECT FROM users u WHERE u.name = r.person AND u.disabled_at IS NOT NULL)
    ORDER BY r.id
    """
)
_END = text("UPDATE notices SET ended_at = clock_timestamp() WHERE id = :id AND ended_at IS NULL")
_TELL_END = text(
    """
    INSERT INTO notice_messages (notice_id, receiver_id, state)
    SELECT m.notice_id, m.receiver_id, 'recovered' FROM notice_messages m
    JOIN notice_receivers r ON r.id = m.receiver_id AND r.status = 'running'
    WHERE m.notice_id = :id AND m.state = 'opened' ORDER BY m.receiver_id
    ON CONFLICT DO NOTHING
    """
)


def end(connection: Connection, notice_id: int) -> None:
    """End a notice, and tell everybody who was told that it began."""
    if connection.execute(_END, {"id": notice_id}).rowcount:
        connection.execute(_TELL_END, {"id": notice_id})


def set_gone(connection: Connection, notice_id: int, gone: bool) -> None:
    """Note that a notice's condition does not hold any more, or holds again."""
    query = "UPDATE notices SET gone_since = CASE WHEN :gone THEN clock_timestamp() END WHERE id = :id"
    connection.execute(text(query), {"id": notice_id, "gone": gone})


class Line(NamedTuple):
    """A notice in the log."""

    id: int
    experiment: str | None  # key; null: of the whole platform
    topic: str
    text: str
    began_at: datetime
    ended_at: datetime | None


_NEWEST = text(
    """
    SELECT n.id, e.key AS experiment, n.topic, n.text, n.began_at, n.ended_at
    FROM notices n LEFT JOIN experiments e ON e.id = n.experiment_id
    WHERE (CAST(:experiment AS text) IS NULL OR e.key = :experiment) AND (CAST(:topic AS text) IS NULL OR n.topic = :topic)
        AND (CAST(:after_id AS bigint) IS NULL OR n.id < :after_id) ORDER BY n.id DESC LIMIT :limit
    """
)


def newest(
    connection: Connection, *, experiment: str | None, topic: str | None, after_id: int | None, limit: int
) -> list[Line]:
    """Notices, newest first; ``after_id`` continues a listing."""
    values = {"experiment": experiment, "topic": topic, "after_id": after_id, "limit": limit}
    return [Line(**row._asdict()) for row in connection.execute(_NEWEST, values)]


class Told(NamedTuple):
    """A message of a notice in the log."""

    notice_id: int
    receiver: str | None  # key; null: deleted
    state: str
    status: str
    attempts: int
    error: str | None
    created_at: datetime
    finished_at: datetime | None


_TOLD = text(
    """
    SELECT m.notice_id, r.key AS receiver, m.state, m.status, m.attempts, m.error, m.created_at, m.finished_at
    FROM notice_messages m LEFT JOIN notice_receivers r ON r.id = m.receiver_id
    WHERE m.notice_id = ANY(:ids) ORDER BY m.notice_id, m.id
    """
)


def told(connection: Connection, notice_ids: list[int]) -> list[Told]:
    """The messages of some notices, oldest first."""
    return [Told(**row._asdict()) for row in connection.execute(_TOLD, {"ids": notice_ids})]
