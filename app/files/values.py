"""Read numbers, times and ids as files write them. A text that is not exactly one is refused, never guessed at."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

# What Python's float() also takes is a code or a mistake: 1_000, nan, digits of other scripts.
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# How a number looks that no code looks like: no leading zero or plus, no "e" without a sign (12e4 is a part number).
PLAIN_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-][0-9]+)?")
MISSING_WORDS: Final = frozenset(
    {"nan", "-nan", "inf", "-inf", "+inf", "infinity", "-infinity", "na", "n/a", "null", "none"}
)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}.*)?", re.DOTALL)
_EPOCH: Final = re.compile(r"[0-9]{9,19}(?:\.[0-9]+)?")
_EPOCH_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))  # below this: so many per second
_SMALLEST_EPOCH: Final = 1e8  # seconds: March 1973; smaller numbers are dates such as 20260131, or counts
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = _START, datetime(2200, 1, 1, tzinfo=UTC)


def number_of(value: object, decimal: str = ".") -> float | None:
    """Return the number that a cell holds, which may be infinite; None if it holds something else.

    :param decimal: the decimal mark of texts.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip(" \t")
        if decimal != ".":
            text = "" if "." in text else text.replace(decimal, ".")
        return float(text) if NUMBER.fullmatch(text) else None
    try:
        return float(value)  # type: ignore[arg-type]  # int, float, Decimal; the rest fails
    except (TypeError, ValueError, OverflowError):
        return None


def id_of(value: object) -> str | None:
    """Return an id as text. 7 and 7.0 are the same id, and a truth value is written as JSON does. None: no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value) if isinstance(value, str | int | date) else None


def time_of(value: object) -> datetime | None:
    """Return a moment in UTC, or None if the value is none from 1970 to 2199.

    ISO 8601 without an offset is UTC. Numbers are seconds since 1970, or milliseconds, microseconds, nanoseconds: each of
    them has another size for every moment after 1973.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    moment = value if isinstance(value, datetime) else _written(value)
    if moment is None:
        return None
    try:
        moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return moment if _EARLIEST <= moment < _LATEST else None


def _written(value: object) -> datetime | None:
    if isinstance(value, str):
        text = value.strip()
        if _TIME.fullmatch(text) and text.isascii():
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                return None
        return _since_1970(float(text)) if _EPOCH.fullmatch(text) else None
    number = number_of(value)
    return None if number is None else _since_1970(number)


def _since_1970(number: float) -> datetime | None:
    for limit, per_second in _EPOCH_UNITS:
        if _SMALLEST_EPOCH <= number < limit:
            return _START + timedelta(microseconds=round(number / per_second * 1e6))
    return None
