"""Renders answers. orjson writes them: numbers come out as the shortest text that reads back exactly."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from flask import Response, request

from app.foundation.api.written import JSON, as_bytes
from app.foundation.fields import Document, JsonObject


def as_json(document: Document | Mapping[str, object] | Sequence[object], status: int = 200) -> Response:
    """A JSON response; documents may stand anywhere in it."""
    return Response(as_bytes(document), status, content_type=JSON)


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
