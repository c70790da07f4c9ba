"""Renders answers. orjson writes them: numbers come out as the shortest text that reads back exactly."""

from typing import Any

import orjson
from flask import Response


def as_json(document: Any, status: int = 200) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), status, content_type="application/json")
