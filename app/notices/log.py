"""The log of notices: what was told, to whom, and whether it arrived."""

from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Engine

from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, invalid
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.notices.store import notices as store
from app.notices.store.notices import Line, Told
from app.notices.topics import TOPICS


class Entry(NamedTuple):
    """A notice with its messages, oldest first."""

    notice: Line
    messages: list[Told]


def newest(
    engine: Engine,
    *,
    experiment: str | None = None,
    topic: str | None = None,
    after_id: int | None = None,
    limit: int = 50,
) -> list[Entry]:
    """Notices, newest first; ``after_id`` continues a listing.

    :raises Unprocessable: no such topic.
    """
    if topic is not None and topic not in (*TOPICS, "test"):
        raise invalid((FieldError("/topic", "not_a_choice", {"expected": [*TOPICS, "test"]}),))
    with transaction(engine) as connection:
        lines = store.newest(connection, experiment=experiment, topic=topic, after_id=after_id, limit=limit)
        told = store.told(connection, [line.id for line in lines])
    by_notice = {number: list(group) for number, group in groupby(told, key=lambda message: message.notice_id)}
    return [Entry(line, by_notice.get(line.id, [])) for line in lines]


def as_json(entry: Entry) -> JsonObject:
    """The notice as the API shows it."""
    return {
        "id": entry.notice.id,
        "experiment": entry.notice.experiment,
        "topic": entry.notice.topic,
        "text": entry.notice.text,
        "began_at": iso(entry.notice.began_at),
        "ended_at": None if entry.notice.ended_at is None else iso(entry.notice.ended_at),
        "messages": [
            {
                "receiver": message.receiver,
                "state": message.state,
                "status": message.status,
                "attempts": message.attempts,
                "error": message.error,
                "created_at": iso(message.created_at),
                "finished_at": None if message.finished_at is None else iso(message.finished_at),
            }
            for message in entry.messages
        ],
    }
