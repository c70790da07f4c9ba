"""Moments as the API writes them, and the time zones that there are."""

from datetime import datetime
from functools import cache
from zoneinfo import available_timezones


def iso(moment: datetime) -> str:
    """UTC, ISO 8601."""
    return moment.isoformat().replace("+00:00", "Z")


@cache
def zones() -> frozenset[str]:
    """The names of all time zones, as in Europe/Vienna."""
    return frozenset(available_timezones())


def is_zone(name: str) -> bool:
    """True for the name of a time zone."""
    return name in zones()
