"""Numbers and durations as people type them, and the version of what a form was made from."""

from decimal import Decimal
from typing import Any

from flask import request

UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}


def span(seconds: float) -> tuple[str, str]:
    """A duration as a number and its unit: the largest unit that gives a whole number."""
    for unit in ("days", "hours", "minutes"):
        if seconds % UNITS[unit] == 0:
            return text(seconds / UNITS[unit]), unit
    return text(seconds), "seconds"


def text(value: Any, times: int = 1) -> str:
    """A number as text that reads back to the very same number."""
    if value is None:
        return ""
    number = (value if isinstance(value, Decimal) else Decimal(repr(value))) * times
    return f"{number.normalize():f}"


def whole_number(text: str, most: int = 2**63 - 1) -> int | None:
    """A whole number from 0 to ``most`` as an address or a form names it; null when it is something else."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    number = int(text)
    return number if number <= most else None


def posted_version() -> int:
    """The version that the form began from; without it 0, which no version has."""
    return whole_number(request.form.get("version", ""), 2**31 - 1) or 0
