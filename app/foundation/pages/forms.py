"""What forms share: errors beside their fields, and complete addresses."""

from datetime import UTC, datetime

from flask import request

from app.foundation.errors import LoopwiseError
from app.foundation.pages.format import zone
from app.foundation.serving import process


def mistakes(error: LoopwiseError) -> dict[str, str]:
    """The sentences of an error by the name of the form's field, which is the last part of the path."""
    sentences: dict[str, str] = {}
    for field in error.fields:
        sentences.setdefault(field.path.rpartition("/")[2], field.on_page())
    return sentences


def time_of(text: str, name: str, errors: dict[str, str]) -> datetime | None:
    """A time as typed; without an offset it is on the reader's clock. A text that is no time becomes the error of its field."""
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment.replace(tzinfo=zone()) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        errors[name] = f"Write a time such as 2026-01-31 or 2026-01-31 14:30, in {zone().key}."
        return None


def public_url() -> str:
    """The address at which people and apps reach this server, without a slash at the end."""
    return (process().settings.public_url or request.host_url).rstrip("/")
