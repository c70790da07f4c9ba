"""Messages on their way: sent to webhooks, or held for their unit."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.foundation.fields import JsonObject
from app.foundation.store.engine import AnyRow
from app.foundation.store.tables import deliveries as _d
from app.foundation.store.tables import delivery_attempts as _a
from app.foundation.store.tables import experiments as _e
from app.foundation.store.tables import webhooks as _w

HELD_S = 7 * 86_400  # how long a held message is shown


def add(
    connection: Connection,
    *,
    decision_id: str,
    experiment_id: int,
    unit_id: str,
    webhook_id: int | None,
    message: dict[str, str],
) -> bool:
    """Store a delivery, due at once; False when its decision already has a delivery."""
    values = {
        "decision_id": decision_id,
        "experiment_id": experiment_id,
        "unit_id": unit_id,
        "webhook_id": webhook_id,
        "message": message,
        "status": "waiting",
        "next_at": None if webhook_id is None else func.clock_timestamp(),
    }
    stored = connection.execute(upsert(_d).values(**values).on_conflict_do_nothing())
    return stored.rowcount == 1


class Claimed(NamedTuple):
    """A delivery that is to be sent now."""

    id: int
    decision_id: str
    experiment: str
    unit_id: str
    message: dict[str, str]
    created_at: datetime
    attempts: int  # failed attempts since it was created or replayed
    webhook_id: int
    url: str | None  # null: the webhook was deleted
    secret_version: int | None
    silent: bool  # the webhook did not answer its last call
    denied: bool  # the unit no longer wants messages


# Steps through the webhooks with waiting deliveries by index, so a webhook's long queue costs the others nothing.
_CLAIM = text(
    """
    WITH RECURSIVE each AS (
        (SELECT webhook_id FROM deliveries WHERE status = 'waiting' AND webhook_id IS NOT NULL
            ORDER BY webhook_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.webhook_id FROM deliveries d WHERE d.status = 'waiting' AND d.webhook_id > e.webhook_id
            ORDER BY d.webhook_id LIMIT 1) FROM each e WHERE e.webhook_id IS NOT NULL
    ), due AS (
        SELECT n.id FROM each e LEFT JOIN webhooks w ON w.id = e.webhook_id
        CROSS JOIN LATERAL (
            SELECT d.id, d.next_at FROM deliveries d
            WHERE d.status = 'waiting' AND d.webhook_id = e.webhook_id AND d.next_at <= statement_timestamp()
            ORDER BY d.next_at, d.id LIMIT 1) n
        WHERE NOT (e.webhook_id = ANY(CAST(:busy AS bigint[]))) AND coalesce(w.status, 'running') = 'running'
            AND (w.silent_since IS NOT NULL) = :silent AND coalesce(w.retry_at <= statement_timestamp(), true)
        ORDER BY n.next_at, n.id LIMIT :room
    ), taken AS (
        UPDATE deliveries d SET next_at = clock_timestamp() + make_interval(secs => :lease_s)
        FROM due WHERE d.id = due.id AND d.status = 'waiting' AND d.next_at <= statement_timestamp()
        RETURNING d.id, d.decision_id, d.experiment_id, d.unit_id, d.message, d.created_at, d.attempts, d.webhook_id
    )
    SELECT t.id, t.decision_id, e.key AS experiment, t.unit_id, t.message, t.created_at, t.attempts, t.webhook_id,
        w.url, w.secret_version, w.silent_since IS NOT NULL AS silent,
        EXISTS (SELECT FROM restrictions r WHERE r.unit_id = t.unit_id AND 'message' = ANY(r.denied)) AS denied
    FROM taken t JOIN experiments e ON e.id = t.experiment_id LEFT JOIN webhooks w ON w.id = t.webhook_id
    ORDER BY t.id
    """
)


def claim(connection: Connection, *, silent: bool, busy: list[int], room: int, lease_s: float) -> list[Claimed]:
    """Lease the longest due delivery of each webhook. Unless it is finished, it is due again when the lease ends.

    :param silent: take from the silent webhooks whose pause is over; otherwise from all others.
    :param busy: webhooks that get no further call now.
    :param room: the largest number of deliveries to take.
    """
    rows = connection.execute(_CLAIM, {"silent": silent, "busy": busy, "room": room, "lease_s": lease_s})
    return [Claimed._make(row) for row in rows]


_LOCK = text("SELECT FROM deliveries WHERE id = :id FOR UPDATE")  # an erasure waits, and then deletes the attempt too
_ATTEMPT = text(
    """
    INSERT INTO delivery_attempts (delivery_id, number, status, error, seconds)
    SELECT :id, coalesce(max(number), 0) + 1, CAST(:status AS int), CAST(:error AS text), :seconds
    FROM delivery_attempts WHERE delivery_id = :id
    """
)


def record_attempt(
    connection: Connection, delivery_id: int, *, status: int | None, error: str | None, seconds: float
) -> bool:
    """Add an attempt to the delivery's log; False when the delivery no longer exists."""
    if connection.execute(_LOCK, {"id": delivery_id}).first() is None:
        return False
    values = {"id": delivery_id, "status": status, "error": error, "seconds": seconds}
    connection.execute(_ATTEMPT, values)
    return True


def finish(connection: Connection, delivery_id: int, status: str) -> None:
    """Mark a delivery as delivered or failed."""
    values: JsonObject = {"status": status, "next_at": None, "finished_at": func.clock_timestamp()}
    values["attempts"] = _d.c.attempts + 1
    connection.execute(update(_d).where(_d.c.id == delivery_id, _d.c.status == "waiting").values(**values))


MOST_FAILED = 1000  # that are counted


def failed_today(connection: Connection) -> int:
    """How many of the newest deliveries failed within the last day."""
    query = """
        SELECT count(*) FROM (
            SELECT finished_at FROM deliveries WHERE status = 'failed' ORDER BY id DESC LIMIT :most
        ) newest WHERE finished_at > clock_timestamp() - interval '1 day'
    """
    return int(connection.execute(text(query), {"most": MOST_FAILED}).scalar_one())


_LATER = text(
    """
    UPDATE deliveries SET attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => :wait_s)
    WHERE id = :id AND status = 'waiting'
    """
)


def try_later(connection: Connection, delivery_id: int, wait_s: float) -> None:
    """Record a failed attempt; the next follows after ``wait_s`` seconds."""
    connection.execute(_LATER, {"id": delivery_id, "wait_s": wait_s})


_GIVE_UP = text(
    """
    WITH late AS (
        UPDATE deliveries d SET status = 'failed', next_at = NULL, finished_at = clock_timestamp()
        FROM webhooks w WHERE w.id = :webhook_id AND d.webhook_id = w.id AND d.status = 'waiting'
            AND w.silent_since <= statement_timestamp() - make_interval(secs => :silent_s)
            AND d.next_at <= statement_timestamp() - make_interval(secs => :silent_s)
        RETURNING d.id
    )
    INSERT INTO delivery_attempts (delivery_id, number, error, seconds)
    SELECT l.id, (SELECT coalesce(max(a.number), 0) + 1 FROM delivery_attempts a WHERE a.delivery_id = l.id),
        'not sent: the webhook has not answered for too long', 0
    FROM late l
    """
)


def give_up(connection: Connection, webhook_id: int, silent_s: float) -> None:
    """Fail deliveries due for ``silent_s`` seconds, if their webhook has been silent for as long."""
    connection.execute(_GIVE_UP, {"webhook_id": webhook_id, "silent_s": silent_s})


def replay(connection: Connection, delivery_id: int) -> None:
    """Make a delivery due now, as if it were new. Its log continues."""
    values = {"status": "waiting", "attempts": 0, "next_at": func.clock_timestamp(), "finished_at": None}
    connection.execute(update(_d).where(_d.c.id == delivery_id).values(**values))


class StoredDelivery(NamedTuple):
    """One delivery, for reading."""

    id: int
    decision_id: str
    experiment: str
    unit_id: str
    webhook_id: int | None
    webhook: str | None  # key; null: held for the unit, or the webhook is gone
    message: dict[str, str]
    status: str
    attempts: int
    next_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


_columns = [
    _e.c.key.label("experiment")
    if name == "experiment"
    else _w.c.key.label("webhook")
    if name == "webhook"
    else _d.c[name]
    for name in StoredDelivery._fields
]
_stored = select(*_columns).select_from(
    _d.join(_e, _e.c.id == _d.c.experiment_id).outerjoin(_w, _w.c.id == _d.c.webhook_id)
)


def find(connection: Connection, delivery_id: int, *, lock: bool = False) -> StoredDelivery | None:
    """One delivery; with ``lock`` nobody else changes it until the transaction ends."""
    query = _stored.where(_d.c.id == delivery_id)
    row = connection.execute(query.with_for_update(of=_d) if lock else query).first()
    return None if row is None else StoredDelivery._make(row)


def newest(
    connection: Connection, *, webhook_id: int | None, status: str | None, after_id: int | None, limit: int
) -> list[StoredDelivery]:
    """Newest first; ``after_id`` continues a listing."""
    query = _stored.order_by(_d.c.id.desc()).limit(limit)
    if webhook_id is not None:
        query = query.where(_d.c.webhook_id == webhook_id)
    if status is not None:
        query = query.where(_d.c.status == status)
    if after_id is not None:
        query = query.where(_d.c.id < after_id)
    return [StoredDelivery._make(row) for row in connection.execute(query)]


def attempts_of(connection: Connection, ids: list[int]) -> list[AnyRow]:
    """The attempts of these deliveries, in their order."""
    query = select(_a).where(_a.c.delivery_id.in_(ids)).order_by(_a.c.delivery_id, _a.c.number)
    return list(connection.execute(query))


class Held(NamedTuple):
    """A message that waits for its unit to fetch it."""

    id: int
    decision_id: str
    experiment_id: int
    experiment: str
    unit_id: str
    message: dict[str, str]
    created_at: datetime


_HELD = text(
    """
    SELECT h.id, h.decision_id, h.experiment_id, e.key AS experiment, h.unit_id, h.message, h.created_at
    FROM unnest(CAST(:units AS text[]), CAST(:after AS bigint[])) i (unit_id, after_id)
    CROSS JOIN LATERAL (
        SELECT * FROM deliveries d WHERE d.unit_id = i.unit_id AND d.id > i.after_id AND d.status = 'waiting'
            AND d.webhook_id IS NULL AND d.created_at > clock_timestamp() - make_interval(secs => :held_s)
        ORDER BY d.id DESC LIMIT :most) h
    JOIN experiments e ON e.id = h.experiment_id
    WHERE NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = i.unit_id AND 'message' = ANY(r.denied))
    ORDER BY h.id DESC
    """
)


def held(connection: Connection, after: list[tuple[str, int]], *, most: int) -> list[Held]:
    """For each unit, return its newest held messages after the given delivery id; all of them newest first."""
    values = {"units": [unit for unit, _ in after], "after": [after_id for _, after_id in after]}
    rows = connection.execute(_HELD, values | {"held_s": HELD_S, "most": most})
    return [Held._make(row) for row in rows]


class HeldFor(NamedTuple):
    """A message that is or was held."""

    id: int
    unit_id: str


def held_for(connection: Connection, decision_id: str) -> dict[int, HeldFor]:
    """Return the messages that are or were held under a decision's id, by experiment."""
    query = select(_d.c.experiment_id, _d.c.id, _d.c.unit_id).where(
        _d.c.decision_id == decision_id, _d.c.webhook_id.is_(None)
    )
    return {row.experiment_id: HeldFor(row.id, row.unit_id) for row in connection.execute(query)}


def receive(connection: Connection, delivery_id: int) -> str | None:
    """Mark a held message as delivered; return its status as it was before, null when it is gone."""
    query = select(_d.c.status).where(_d.c.id == delivery_id)
    status: str | None = connection.execute(query.with_for_update()).scalar_one_or_none()
    if status == "waiting":
        finish(connection, delivery_id, "delivered")
    return status
