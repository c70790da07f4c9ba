"""The API keys that the process behind a request knows."""

from flask import current_app

from app.accounts.keys import KeyDirectory


def key_directory() -> KeyDirectory:
    """Return the keys that this process has loaded."""
    directory: KeyDirectory = current_app.extensions["loopwise"]
    return directory
