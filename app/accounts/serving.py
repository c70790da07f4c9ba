"""The API keys that the process behind a request knows."""

from flask import current_app

from app.accounts.keys import KeyDirectory


def key_directory() -> KeyDirectory:
    """The keys that this process knows."""
    known: KeyDirectory = current_app.extensions["loopwise"]
    return known
