"""The ids of the request that this thread serves: taken from the caller or made here, in the answer and in every log line."""

import os
import re
from contextvars import ContextVar

HEADER = "X-Request-Id"
TRACE_HEADER = "traceparent"
_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_current: ContextVar[dict[str, str]] = ContextVar("request", default={})  # noqa: B039 - never changed, only replaced


def begin(request_id: str | None, traceparent: str | None) -> str:
    """Note the ids of a request that begins; returns its id. What is no id is replaced: it goes into headers and the log."""
    if request_id is None or not _ID.fullmatch(request_id):
        request_id = os.urandom(16).hex()
    trace = _TRACE.fullmatch(traceparent) if traceparent else None
    _current.set({"request_id": request_id, "trace_id": trace[1]} if trace else {"request_id": request_id})
    return request_id


def current() -> dict[str, str]:
    """The ids for a log line: ``request_id``, and ``trace_id`` where the caller gave a W3C trace context."""
    return _current.get()
