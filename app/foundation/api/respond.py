"""Renders answers. orjson writes them: numbers come out as the shortest text that reads back exactly."""

from collections.abc import Mapping, Sequence

import orjson
from flask import Response
from pydantic import JsonValue

from app.foundation.fields import Document


def as_json(document: Document | Mapping[str, object] | Sequence[object], status: int = 200) -> Response:
    """A JSON response; documents may stand anywhere in it."""
    text = orjson.dumps(document, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(text, status, content_type="application/json")


def _plain(value: object) -> dict[str, JsonValue]:
    if isinstance(value, Document):
        return value.as_json()
    raise TypeError(f"{type(value).__name__} is not JSON")
