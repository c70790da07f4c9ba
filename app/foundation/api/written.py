"""What is written to a caller, whichever server does it: documents as bytes, errors as problem documents."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from app.foundation.errors import LoopwiseError, TooLarge, TooManyRequests, Unavailable
from app.foundation.fields import Document, JsonObject

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
PERSONALIZER: Final = "/personalizer/"
_PERSONALIZER_CODES: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "ResourceNotFound",
    409: "Conflict",
}


class Written(NamedTuple):
    """An answer before it has the headers that all answers have."""

    status: int
    body: bytes
    headers: dict[str, str]


def as_bytes(document: Document | Mapping[str, object] | Sequence[object]) -> bytes:
    """The text of a JSON answer; documents may stand anywhere in it."""
    return orjson.dumps(document, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: object) -> dict[str, JsonValue]:
    if isinstance(value, Document):
        return value.as_json()
    raise TypeError(f"{type(value).__name__} is not JSON")


def personalizer_code(status: int, otherwise: str) -> str:
    """How that service calls an error of a status."""
    return _PERSONALIZER_CODES.get(status, otherwise)


def problem(status: int, code: str, title: str, detail: str) -> JsonObject:
    """The members that every problem document has."""
    return {"type": f"/docs/errors#{code}", "title": title, "status": status, "detail": detail, "code": code}


def failure(error: LoopwiseError, path: str) -> Written:
    """An error as one RFC 9457 problem document; on the Personalizer routes, as that service's own error body."""
    status, headers = error.status, {"Content-Type": PROBLEM}
    if path.startswith(PERSONALIZER):
        status, headers = 400 if status == 422 else status, {"Content-Type": JSON}
        code = personalizer_code(status, "ServiceUnavailable" if status == 503 else "InvalidRequest")
        body: JsonObject = {"error": {"code": code, "message": error.detail, "target": error.code}}
    else:
        body = problem(status, error.code, error.title, error.detail)
        if error.fields:
            body["errors"] = [
                {"path": field.path, "code": field.code, "params": dict(field.params), "message": field.message}
                for field in error.fields
            ]
    if isinstance(error, Unavailable | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="loopwise"'
    return Written(status, orjson.dumps(body), headers)


def fault() -> LoopwiseError:
    """The error of what only the log may tell."""
    return LoopwiseError("internal_error", "This is a fault of Loopwise; its log says more.")


def too_large(limit: int) -> TooLarge:
    """The error for a body over the limit, in bytes."""
    return TooLarge("request_entity_too_large", f"The body is larger than {limit} bytes; split it.")
