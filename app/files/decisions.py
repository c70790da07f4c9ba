"""Read decisions page by page, newest first, as other programs take them. `loopwise export` writes whole logs."""

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

import orjson
import pyarrow as pa
from sqlalchemy import Engine

from app.files.store import transfer
from app.files.store.transfer import ExportedDecision, Wanted
from app.foundation.errors import FieldError, Unprocessable
from app.foundation.fields import JsonObject, invalid
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.registry.lookup import stored_experiment

Format = Literal["json", "jsonl", "arrow"]
KINDS: dict[Format, str] = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
}
MOST_BYTES = 8_000_000  # of the contexts on one page; a page has one decision at least


class Page(NamedTuple):
    """Some decisions of an experiment."""

    decisions: list[JsonObject]
    next: str | None  # the cursor of the next page; null: this is the last


def page(
    engine: Engine,
    key: str,
    *,
    unit_id: str | None,
    since: datetime | None,
    until: datetime | None,
    after: str | None,
    limit: int,
) -> Page:
    """Return the newest decisions of an experiment, or those that come after a cursor.

    Units without consent to be analysed, units that the reports leave out, and erased decisions are not among them.

    :param after: the ``next`` of the page before.
    :raises NotFound: the experiment does not exist.
    :raises Unprocessable: the cursor is none, or the stretch ends before it begins.
    """
    if since is not None and until is not None and until <= since:
        raise invalid((FieldError("/until", "ends_before_it_begins"),))
    before = None if after is None else _place(after)
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
        rows = transfer.readable_page(
            connection, experiment_id, Wanted(unit_id, since, until, before), most=limit + 1, most_bytes=MOST_BYTES
        )
    shown = rows.decisions[:limit]
    more = rows.cut or len(rows.decisions) > limit
    return Page([_document(key, row) for row in shown], _cursor(shown[-1]) if more and shown else None)


def written(found: Page, kind: Format) -> bytes:
    """Return a page in one of ``KINDS``; the lists and objects of a decision are JSON texts in Arrow."""
    if kind == "json":
        return orjson.dumps(found._asdict())
    if kind == "jsonl":
        return b"".join(orjson.dumps(decision) + b"\n" for decision in found.decisions)
    return _arrow(found.decisions)


def _document(key: str, row: ExportedDecision) -> JsonObject:
    parsed = {name: orjson.loads(getattr(row, name)) for name in ("context", "eligible", "distribution")}
    return {"experiment": key} | row._asdict() | parsed | {"decided_at": iso(row.decided_at)}


def _cursor(row: ExportedDecision) -> str:
    place = orjson.dumps([row.decided_at.isoformat(), row.decision_id])
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        at, decision_id = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        moment = datetime.fromisoformat(at)
    except (ValueError, TypeError, binascii.Error):
        raise _not_a_cursor() from None
    if moment.tzinfo is None or not isinstance(decision_id, str) or "\0" in decision_id:
        raise _not_a_cursor()
    return moment, decision_id


def _not_a_cursor() -> Unprocessable:
    return invalid((FieldError("/after", "not_a_cursor"),))


def _arrow(decisions: list[JsonObject]) -> bytes:
    numbers = dict.fromkeys(("arm_probability", "propensity", "reward"), pa.float64())
    numbers |= dict.fromkeys(("policy_version", "config_version", "reward_events"), pa.int64())
    names = ("experiment", *ExportedDecision._fields)
    fields = [(name, numbers.get(name, pa.string())) for name in names if name != "decided_at"]
    schema = pa.schema([*fields, ("decided_at", pa.timestamp("us", "UTC"))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_pylist(list(_flat(decisions)), schema))
    return bytes(sink.getvalue())


def _flat(decisions: list[JsonObject]) -> Iterator[JsonObject]:
    for decision in decisions:
        texts = {name: orjson.dumps(decision[name]).decode() for name in ("context", "eligible", "distribution")}
        yield decision | texts | {"decided_at": datetime.fromisoformat(decision["decided_at"])}
