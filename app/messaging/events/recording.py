"""Stores events durably and answers with receipts. The same event reported twice gets the same receipt.

An event that lies too far in the past or the future is stored with the reason and fires nothing.
"""

import hashlib
from datetime import UTC
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection

from app.accounts.keys import Caller, check_unbound
from app.deciding.runtime import Runtime
from app.foundation import metrics
from app.foundation.errors import Conflict, LoopwiseError, within
from app.foundation.formats.same_json import canonical
from app.foundation.running.jobs import Handler, keep
from app.foundation.running.steps import Steps, run
from app.foundation.times import iso
from app.messaging.events.request import EventRequest
from app.messaging.store import events as store
from app.messaging.store.events import NewEvent, StoredEvent


class EventAnswer(TypedDict):
    """The answer for an event."""

    event_id: str
    occurred_at: str  # ISO 8601, UTC
    received_at: str
    ignored: str | None  # why it fires nothing; null: it may


class Receipt(NamedTuple):
    """A stored event."""

    answer: EventAnswer
    created: bool  # False: it was stored before


def take(runtime: Runtime, caller: Caller, requests: list[EventRequest]) -> list[Receipt]:
    """Store all events in one commit, or none. This thread waits; see ``taking``."""
    return run(taking(runtime, caller, requests))


def taking(runtime: Runtime, caller: Caller, requests: list[EventRequest]) -> Steps[list[Receipt]]:
    """Store all events in one commit, or none, in steps.

    :raises Conflict: another event under the same event_id.
    :raises Forbidden: the caller's key is bound to an experiment, but events belong to no experiment.
    """
    check_unbound(caller)
    receipts = yield from runtime.log_writer.stored(HANDLER, [_new(request) for request in requests])
    new = [receipt for receipt in receipts if receipt.created]
    metrics.count_events(len(new), sum(receipt.answer["ignored"] is not None for receipt in new))
    return receipts


def _new(request: EventRequest) -> NewEvent:
    at = None if request.occurred_at is None else request.occurred_at.astimezone(UTC)
    content = [request.unit_id, request.name, request.properties, at]
    body_hash = hashlib.sha256(canonical(content)).hexdigest()
    event_id = f"auto-{body_hash[:32]}" if request.event_id is None else request.event_id
    return NewEvent(event_id, request.unit_id, request.name, request.properties, body_hash, request.occurred_at)


def _store(connection: Connection, jobs: list[list[NewEvent]]) -> list[list[Receipt] | LoopwiseError]:
    """Handle a group commit: return the receipts of each job, or its error, and then store nothing of that job."""
    existing = store.find_many(connection, list({event.event_id for job in jobs for event in job}))
    new: dict[str, NewEvent] = {}
    errors = [_first_error(job, existing, new) for job in jobs]
    stored = store.insert_new(connection, list(new.values())) if new else {}
    if len(stored) < len(new):  # another process has just stored some of them, and its rows are visible now
        store.undo(connection, list(stored))
        return _store(connection, jobs)
    existing, fresh = existing | stored, set(stored)  # when several jobs have the same event, the first one created it
    return [
        error or [_receipt(event, existing, fresh) for event in job] for job, error in zip(jobs, errors, strict=True)
    ]


def _first_error(
    job: list[NewEvent], existing: dict[str, StoredEvent], new: dict[str, NewEvent]
) -> LoopwiseError | None:
    """Check a job against what is stored and what this batch is about to store; its new events join ``new``."""
    added: dict[str, NewEvent] = {}
    for index, event in enumerate(job):
        before = existing.get(event.event_id) or new.get(event.event_id) or added.get(event.event_id)
        if before is None:
            added[event.event_id] = event
        elif before.body_hash != event.body_hash:
            message = f"event_id {event.event_id!r} was used with another event; use a new id."
            error = Conflict("event_id_reused", message)
            return error if len(job) == 1 else within(error, f"/events/{index}")
    new.update(added)
    return None


def _receipt(event: NewEvent, existing: dict[str, StoredEvent], fresh: set[str]) -> Receipt:
    row = existing[event.event_id]
    answer: EventAnswer = {
        "event_id": row.event_id,
        "occurred_at": iso(row.occurred_at),
        "received_at": iso(row.received_at),
        "ignored": row.ignored,
    }
    created = event.event_id in fresh
    fresh.discard(event.event_id)
    return Receipt(answer, created)


HANDLER: Handler[NewEvent, list[Receipt]] = Handler(_store, keep)
