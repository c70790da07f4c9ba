"""What is written to a caller, whichever server does it: documents as bytes, errors as problem documents."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

import orjson
from pydantic import JsonValue

from app.foundation.errors import LoopwiseError, TooLarge, TooManyRequests, Unavailable
from app.foundation.fields import Document, JsonObject

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
PERSONALIZER: Final = "/personalizer/"
OFREP: Final = "/ofrep/"
_FLAG: Final = f"{OFREP}v1/evaluate/flags/"
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


def family(path: str) -> str:
    """The beginning of the paths whose errors have the same shape as those of this one."""
    return next((prefix for prefix in (PERSONALIZER, OFREP) if path.startswith(prefix)), "/")


def flag_error(error: LoopwiseError, key: str) -> JsonObject:
    """An error as OpenFeature's protocol has it.

    :param key: of the flag; empty: the error is about no single flag.
    """
    paths = [field.path for field in error.fields]
    if error.status == 404:
        code = "FLAG_NOT_FOUND"
    elif error.code == "targeting_key_missing":
        code = "TARGETING_KEY_MISSING"
    elif any(path.startswith("/context") for path in paths):
        code = "INVALID_CONTEXT"
    else:
        code = "PARSE_ERROR" if error.status == 400 else "GENERAL"
    return ({"key": key} if key else {}) | {"errorCode": code, "errorDetails": error.detail, "code": error.code}


def failure(error: LoopwiseError, path: str) -> Written:
    """An error as one RFC 9457 problem document; on the routes of other services' clients, in their own shapes."""
    status, headers = error.status, {"Content-Type": PROBLEM}
    if path.startswith(PERSONALIZER):
        status, headers = 400 if status == 422 else status, {"Content-Type": JSON}
        code = personalizer_code(status, "ServiceUnavailable" if status == 503 else "InvalidRequest")
        body: JsonObject = {"error": {"code": code, "message": error.detail, "target": error.code}}
    elif path.startswith(OFREP):
        status, headers = 400 if status in (409, 422) else status, {"Content-Type": JSON}
        body = flag_error(error, unquote(path[len(_FLAG) :]) if path.startswith(_FLAG) else "")
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
