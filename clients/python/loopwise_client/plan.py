"""What a call is before and after its I/O: a request, and what its ends mean."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

from loopwise_client.errors import REFUSALS, FieldError, LoopwiseUnavailable, Refused
from loopwise_client.retry import RETRIED, Failed, retry_after_s

T = TypeVar("T")
SHOWN = 200  # characters of a foreign server's answer in an error


class Deadlines(NamedTuple):
    """What a call may cost in all, in seconds, unless it says otherwise."""

    decide_s: float  # decisions and messages
    report_s: float  # everything else


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, which is the same at every attempt, and what its ends mean."""

    path: str
    body: bytes
    deadline_s: float
    read: Callable[[Any], T]  # the parsed answer
    instead: Callable[[LoopwiseUnavailable], T]  # what to return without an answer, or raises the error
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Ready(Generic[T]):
    """What is known without asking, or was answered."""

    value: T


Plan = Call[T] | Ready[T]


def read(call: Call[T], status: int, retry_after: str | None, raw: bytes, now: datetime) -> Ready[T] | Failed:
    """What an answer means.

    :raises Refused: a 4xx other than 429.
    """
    document = _parsed(raw)
    if 200 <= status < 300:
        try:
            return Ready(call.read(document))
        except (KeyError, TypeError, ValueError, AttributeError):
            return Failed(f"the answer is not one of Loopwise: {raw[:SHOWN]!r}", again=False)
    problem = document if isinstance(document, dict) else {}
    code = str(problem.get("code", "unknown"))  # an answer of a proxy has none
    detail = str(problem.get("detail", repr(raw[:SHOWN])))
    if 400 <= status < 500 and status not in RETRIED:
        raise REFUSALS.get(status, Refused)(status, code, detail, _errors(problem))
    reason = f"the server answered {status} {code}: {detail}"
    return Failed(reason, status in RETRIED, retry_after_s(retry_after, now))


def unavailable(error: LoopwiseUnavailable) -> NoReturn:
    """The end of a call that has nothing to say instead of an answer."""
    raise error


def deadline(given: float | None, usual: float) -> float:
    """A call's own deadline, or the usual one, in seconds."""
    deadline_s = usual if given is None else given
    if not (isfinite(deadline_s) and deadline_s > 0):
        raise ValueError("a deadline is a number of seconds above 0")
    return deadline_s


def as_json(document: Any) -> bytes:
    """A body. NaN and Infinity are mistakes, because JSON has none."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def part(text: str) -> str:
    """An id as a part of an address: "." and ".." are ids too, not steps of a path."""
    return quote(text, safe="").replace(".", "%2E")


def utc(moment: datetime) -> str:
    """A time as the API reads it."""
    if moment.utcoffset() is None:
        raise ValueError("occurred_at needs a time zone, such as datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat()


def moment(text: str) -> datetime:
    """A time as the API writes it."""
    return datetime.fromisoformat(text)


def as_many(answers: list[Any], asked: Sequence[object]) -> list[Any]:
    """The answers, one for each question."""
    if len(answers) != len(asked):
        raise ValueError("not one answer for each question")
    return answers


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _errors(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    found = problem.get("errors")
    fields = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return tuple(FieldError(str(one.get("path", "")), str(one.get("message", ""))) for one in fields)
