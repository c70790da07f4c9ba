"""Errors as the log shows them: what failed and where, never the values that it failed on, which may be about a person.

PostgreSQL repeats rows and keys in an error's details, and Python's own errors repeat the value that they refuse. An erasure
does not reach a log, so neither gets in. At the level debug the log shows everything, for a developer's own data.
"""

import logging
import sys
import traceback
from collections.abc import Iterator

import structlog

_REPEAT_VALUES = (ValueError, LookupError, TypeError)  # "could not convert string to float: 'Ann'", "KeyError: 'Ann'"
_OURS = ("app.", "bandits.", "experiments.", "worker.")  # modules whose errors have our own words
_DATA_ERRORS = "22"  # SQLSTATE class: messages such as: invalid input syntax for type integer: "Ann"


def words_of(error: BaseException) -> str:
    """One line for an error: its type, and as much of its message as cannot hold a value."""
    original = getattr(error, "orig", None)  # SQLAlchemy's errors repeat PostgreSQL's
    if isinstance(original, BaseException):
        return words_of(original)
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        return f"{type(error).__name__}: {error}"
    state = getattr(error, "pgcode", None)
    if state is not None:
        message = "" if state.startswith(_DATA_ERRORS) else f": {getattr(error, 'diag').message_primary}"  # noqa: B009 - psycopg2 is not imported here
        return f"{type(error).__name__} (SQLSTATE {state}){message}"
    if isinstance(error, _REPEAT_VALUES) and not type(error).__module__.startswith(_OURS):
        return f"{type(error).__name__} (its message may hold a value; the level debug shows it)"
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def trace_of(error: BaseException) -> str:
    """The traceback of an error and of those that led to it, oldest first, without messages that may hold values."""
    return "".join(_trace(error, set()))


def _trace(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _trace(before, seen)
        yield "\nwhich led to:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{words_of(error)}\n"


def show_errors(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Turn the errors of a line into words: ``exc_info`` into a traceback, any other value that is an error into one line."""
    given = event.pop("exc_info", None)
    if given:
        error = (
            given if isinstance(given, BaseException) else (given if isinstance(given, tuple) else sys.exc_info())[1]
        )
        if error is not None:
            event["exception"] = trace_of(error)
    for name, value in event.items():
        if isinstance(value, BaseException):
            event[name] = words_of(value)
    return event
