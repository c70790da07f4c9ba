"""Renders answers. orjson writes them: numbers come out as the shortest text that reads back exactly."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import orjson
from flask import Response, request
from pydantic import JsonValue

from app.foundation.fields import Document, JsonObject


def as_json(document: Document | Mapping[str, object] | Sequence[object], status: int = 200) -> Response:
    """A JSON response; documents may stand anywhere in it."""
    text = orjson.dumps(document, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(text, status, content_type="application/json")


def _plain(value: object) -> dict[str, JsonValue]:
    if isinstance(value, Document):
        return value.as_json()
    raise TypeError(f"{type(value).__name__} is not JSON")


def request_document() -> JsonObject:
    """The body as it was sent, which tells a field that was left out from null; only for routes whose body is an object."""
    document: JsonObject = request.document  # type: ignore[attr-defined]
    return document


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


def next_page(rows: Sequence[_Numbered], limit: int) -> str | None:
    """The cursor of the next page of a listing; null: this page is not full, so it is the last."""
    return str(rows[-1].id) if len(rows) == limit else None
