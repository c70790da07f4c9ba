"""What forms share: mistakes beside their fields, and addresses that are complete."""

from datetime import UTC, datetime

from flask import request

from app.foundation.errors import LoopwiseError
from app.foundation.serving import process


def mistakes(error: LoopwiseError) -> dict[str, str]:
    """The mistakes of an error by the name of the form's field, which is the last part of the path."""
    found: dict[str, str] = {}
    for field in error.fields:
        found.setdefault(field.path.rpartition("/")[2], field.on_page())
    return found


def time_of(text: str, name: str, errors: dict[str, str]) -> datetime | None:
    """A time as typed; without an offset it is UTC. One that cannot be read becomes the mistake of its field."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        errors[name] = "Write a time as 2026-01-31 or 2026-01-31 14:30, in UTC."
        return None


def public_url() -> str:
    """The address at which people and apps reach this server, without a slash at the end."""
    return (process().settings.public_url or request.host_url).rstrip("/")
