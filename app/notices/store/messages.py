"""The messages of notices on their way: which is next for each receiver, and what became of it."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class Due(NamedTuple):
    """A message that is to be sent now."""

    id: int
    notice_id: int
    receiver_id: int
    state: str  # opened, recovered, test
    attempts: int  # failed ones
    topic: str
    text: str
    experiment: str | None  # key; null: of the whole platform
    began_at: datetime
    ended_at: datetime | None
    form: str
    email: str | None
    webhook_id: int | None
    url: str | None  # null: an e-mail, or the webhook was deleted
    secret_version: int | None


# The oldest waiting message of each receiver, so that they arrive in order; a test goes first, also in quiet hours.
_DUE = text(
    """
    SELECT m.id, m.notice_id, r.id AS receiver_id, m.state, m.attempts, n.topic, n.text, e.key AS experiment, n.began_at,
        n.ended_at, r.form, r.email, w.id AS webhook_id, w.url, w.secret_version
    FROM notice_receivers r
    CROSS JOIN LATERAL (
        SELECT * FROM notice_messages m WHERE m.receiver_id = r.id AND m.status = 'waiting'
        ORDER BY (m.state = 'test') DESC, m.id LIMIT 1) m
    JOIN notices n ON n.id = m.notice_id
    LEFT JOIN experiments e ON e.id = n.experiment_id
    LEFT JOIN webhooks w ON w.key = r.webhook
    CROSS JOIN LATERAL (SELECT (statement_timestamp() AT TIME ZONE r.time_zone)::time AS here) clock
    CROSS JOIN LATERAL (SELECT coalesce(CASE WHEN r.quiet_from::time <= r.quiet_until::time
        THEN here >= r.quiet_from::time AND here < r.quiet_until::time
        ELSE here >= r.quiet_from::time OR here < r.quiet_until::time END, false) AS quiet) hours
    WHERE m.next_at <= statement_timestamp() AND NOT (r.id = ANY(CAST(:busy AS bigint[])))
        AND (m.state = 'test' OR (r.status = 'running' AND NOT quiet))
        AND coalesce(w.status, 'running') = 'running' AND coalesce(w.retry_at <= statement_timestamp(), true)
    ORDER BY m.id LIMIT :room
    """
)


def due(connection: Connection, *, busy: list[int], room: int) -> list[Due]:
    """The next message of each receiver that has one to get now.

    :param busy: receivers with a message on its way.
    """
    rows = connection.execute(_DUE, {"busy": busy, "room": room})
    return [Due(**row._asdict()) for row in rows]


_FINISH = text(
    """
    UPDATE notice_messages SET status = :status, attempts = attempts + 1, error = :error, finished_at = clock_timestamp()
    WHERE id = :id AND status = 'waiting'
    """
)
_LATER = text(
    """
    UPDATE notice_messages SET attempts = attempts + 1, error = :error,
        next_at = clock_timestamp() + make_interval(secs => :wait_s)
    WHERE id = :id AND status = 'waiting'
    """
)


def finish(connection: Connection, message_id: int, status: str, error: str | None) -> None:
    """Mark a message as delivered or failed."""
    connection.execute(_FINISH, {"id": message_id, "status": status, "error": error})


def try_later(connection: Connection, message_id: int, wait_s: float, error: str | None) -> None:
    """Note a failed attempt; the next one follows after ``wait_s`` seconds."""
    connection.execute(_LATER, {"id": message_id, "wait_s": wait_s, "error": error})
