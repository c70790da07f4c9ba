"""The runtime behind a request, for routes and pages that decide."""

from flask import current_app

from app.deciding.runtime import Runtime


def runtime() -> Runtime:
    """Return this process's runtime."""
    serving: Runtime = current_app.extensions["loopwise"]
    return serving
