"""A call before and after its I/O: a request, and the meaning of its possible results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import isfinite
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar, Union
from urllib.parse import quote

from loopwise_client.errors import REFUSALS, FieldError, LoopwiseUnavailable, Refused
from loopwise_client.retry import RETRIED, Failed, retry_after_s

T = TypeVar("T")
SHOWN = 200  # characters of another server's answer in an error


class Deadlines(NamedTuple):
    """The longest time of a call, in seconds, unless the call has its own."""

    decide_s: float  # decisions and messages
    report_s: float  # everything else


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, which is the same at every attempt, and the meaning of its possible results."""

    path: str
    body: bytes
    deadline_s: float
    read: Callable[[Any], T]  # the parsed answer
    instead: Callable[[LoopwiseUnavailable], T]  # what to return without an answer, or raises the error
    method: str = "POST"


@dataclass(frozen=True)
class Ready(Generic[T]):
    """A result that is known without a request."""

    value: T


Plan = Union[Call[T], Ready[T]]


def read(call: Call[T], status: int, retry_after: str | None, raw: bytes, now: datetime) -> Ready[T] | Failed:
    """Return the result of an answer.

    :raises Refused: a 4xx other than 429.
    """
    document = _parsed(raw)
    if 200 <= status < 300:
        try:
            return Ready(call.read(document))
        except (KeyError, TypeError, ValueError, AttributeError):
            return Failed(f"the answer is not from Loopwise: {raw[:SHOWN]!r}", again=False)
    problem = document if isinstance(document, dict) else {}
    code = str(problem.get("code", "unknown"))  # an answer of a proxy has none
    detail = str(problem.get("detail", repr(raw[:SHOWN])))
    if 400 <= status < 500 and status not in RETRIED:
        raise REFUSALS.get(status, Refused)(status, code, detail, _errors(problem))
    reason = f"the server answered {status} {code}: {detail}"
    return Failed(reason, status in RETRIED, retry_after_s(retry_after, now))


def unavailable(error: LoopwiseUnavailable) -> NoReturn:
    """The result without an answer, for a call that has no default."""
    raise error


def deadline(given: float | None, usual: float) -> float:
    """A call's own deadline, or the usual one, in seconds."""
    deadline_s = usual if given is None else given
    if not (isfinite(deadline_s) and deadline_s > 0):
        raise ValueError("a deadline is a number of seconds above 0")
    return deadline_s


def as_json(document: Any) -> bytes:
    """A body. NaN and Infinity are errors, because JSON does not have them."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def part(text: str) -> str:
    """An id as a part of an address. "." and ".." are ids too, not steps of a path."""
    return quote(text, safe="").replace(".", "%2E")


def utc(moment: datetime) -> str:
    """A time as the API reads it."""
    if moment.utcoffset() is None:
        raise ValueError("occurred_at needs a time zone, such as datetime.now(timezone.utc)")
    return moment.astimezone(timezone.utc).isoformat()


def moment(text: str) -> datetime:
    """A time as the API writes it."""
    return datetime.fromisoformat(text)


def as_many(answers: list[Any], asked: Sequence[object]) -> list[Any]:
    """The answers, one for each question."""
    if len(answers) != len(asked):
        raise ValueError("the number of answers is not the number of questions")
    return answers


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _errors(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    errors = problem.get("errors")
    fields = [item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else []
    return tuple(FieldError(str(item.get("path", "")), str(item.get("message", ""))) for item in fields)
