"""What happens in an app, and the messages that follow from it: events, held messages, the stream."""

import re
from collections import Counter
from collections.abc import Iterator

import orjson
from flask import Response, current_app, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.accounts.api.browsers import check_unit
from app.accounts.api.hot import Answered, Asked, hot, stored
from app.accounts.keys import check_id
from app.deciding.api.answers import Message
from app.deciding.naming import DecisionPath, ExperimentQuery
from app.deciding.serving import runtime, runtime_of
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.errors import FieldError
from app.foundation.fields import Id, invalid
from app.foundation.running.steps import Steps
from app.messaging.delivery import log as deliveries
from app.messaging.delivery.streams import Listener, Listeners
from app.messaging.events import recording as events
from app.messaging.events.request import EventsRequest
from app.messaging.store.deliveries import Held

RETRY_MS = 3000  # how long a browser waits before it listens again

blueprint = APIBlueprint(
    "messages",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="messages", description="Events, and the messages that follow from them.")],
    abp_responses=PROBLEMS,
)


class EventAnswer(BaseModel):
    event_id: str
    occurred_at: str
    received_at: str
    ignored: str | None = Field(description="Why it fires nothing; null: it may.")


class EventsAnswer(BaseModel):
    events: list[EventAnswer]


class HeldAnswer(BaseModel):
    delivery_id: int
    decision_id: str
    experiment: str
    unit_id: str
    message: Message
    created_at: str


class PendingAnswer(BaseModel):
    messages: list[HeldAnswer]


class ReceivedAnswer(BaseModel):
    decision_id: str
    status: str
    received: bool = Field(description="False: it was received, or given up, before.")


class UnitQuery(BaseModel):
    unit_id: Id


class StreamQuery(UnitQuery):
    last_event_id: int | None = Field(
        default=None, ge=0, lt=2**63, description="The header Last-Event-ID, for clients that cannot send it."
    )


@hot(blueprint, "/events", "reward", browsers=True, responses={200: EventsAnswer, 201: EventsAnswer})
def take(asked: Asked, body: EventsRequest) -> Steps[Answered]:
    """Report one event, or up to 1,000 as {"events": [...]}: all, or none. 201: at least one is new. 200: known receipts."""
    reported = body.each()
    for unit_id, count in Counter(event.unit_id for event in reported).items():
        asked.check_proof(unit_id)
        asked.count_unit(unit_id, count)
    for index, event in enumerate(reported):
        path = "/event_id" if body.events is None else f"/events/{index}/event_id"
        check_id(asked.caller, event.event_id, path)
    receipts = yield from events.taking(runtime_of(asked), asked.caller, reported)
    return stored({"events": [receipt.answer for receipt in receipts]}, any(receipt.created for receipt in receipts))


@blueprint.get("/messages/pending", responses={200: PendingAnswer})
@needs("decide", browsers=True)
def pending(query: UnitQuery) -> Response:
    """List the messages that are held for a unit and not yet received, newest first: at most 50 of the last 7 days."""
    check_unit(caller(), query.unit_id)
    rows = deliveries.held(runtime().engine, caller(), query.unit_id)
    return as_json({"messages": [deliveries.content(row) for row in rows]})


@blueprint.post("/messages/<path:decision_id>/received", responses={200: ReceivedAnswer})
@needs("reward", browsers=True)
def received(path: DecisionPath, query: ExperimentQuery) -> Response:
    """Mark a held message as shown. It is not given out again."""
    named = path.decision_id, query.experiment
    check_unit(caller(), deliveries.unit_of(runtime(), caller(), *named))
    return as_json(deliveries.received(runtime(), caller(), *named))


@blueprint.get(
    "/stream",
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events"}},
)
@needs("decide", browsers=True, key_in_query=True)
def stream(query: StreamQuery) -> Response:
    """Stream a unit's messages as server-sent events. A stream ends after 25 seconds; Last-Event-ID continues it.

    A browser's EventSource sends no headers. It passes a publishable key as `key` and the unit's proof as `unit_token`.
    """
    process, client, listeners = runtime(), caller(), _listeners()
    check_unit(client, query.unit_id)
    after_id = _last_event_id(query)
    rows = deliveries.held(process.engine, client, query.unit_id, after_id=after_id)
    listener = listeners.enter(client, query.unit_id, max([after_id, *(row.id for row in rows)]))
    response = Response(_lines(rows, listener), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # else nginx buffers the lines until it has more
    if listener is not None:
        response.call_on_close(lambda: listeners.leave(listener))
    return response


def _listeners() -> Listeners:
    """The listeners of this process, which are limited in number."""
    listeners: Listeners = current_app.extensions["loopwise_listeners"]
    return listeners


def _last_event_id(query: StreamQuery) -> int:
    last_id = request.headers.get("Last-Event-ID", "")
    if not last_id:
        return query.last_event_id or 0
    if not re.fullmatch(r"[0-9]{1,18}", last_id):
        raise invalid((FieldError("/last_event_id", "not_an_event_id"),))
    return int(last_id)


def _lines(rows: list[Held], listener: Listener | None) -> Iterator[bytes]:
    """Yield the held messages first. Without a listener the stream ends there, and the browser connects again."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    for row in reversed(rows):
        yield _line(row)
    for message in listener.messages() if listener is not None else ():
        yield b":\n\n" if message is None else _line(message)


def _line(row: Held) -> bytes:
    return b"id: %d\nevent: message\ndata: %s\n\n" % (row.id, orjson.dumps(deliveries.content(row)))
