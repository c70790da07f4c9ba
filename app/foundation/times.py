"""Moments as the API writes them."""

from datetime import datetime


def iso(moment: datetime) -> str:
    """UTC, ISO 8601."""
    return moment.isoformat().replace("+00:00", "Z")
