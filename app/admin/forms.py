"""What forms share: mistakes beside their fields, and addresses that are complete."""

from flask import request

from app.errors import LoopwiseError
from app.serving import runtime


def mistakes(error: LoopwiseError) -> dict[str, str]:
    """The mistakes of an error by the name of the form's field, which is the last part of the path."""
    found: dict[str, str] = {}
    for field in error.fields:
        found.setdefault(field.path.rpartition("/")[2], as_sentence(field.message))
    return found


def as_sentence(text: str) -> str:
    """The same words with a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def public_url() -> str:
    """The address at which people and apps reach this server, without a slash at the end."""
    return (runtime().settings.public_url or request.host_url).rstrip("/")
