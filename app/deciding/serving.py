"""The runtime behind a request, for routes and pages that decide."""

from flask import current_app

from app.accounts.api.hot import Asked
from app.deciding.runtime import Runtime


def runtime() -> Runtime:
    """Return this process's runtime."""
    serving: Runtime = current_app.extensions["loopwise"]
    return serving


def runtime_of(asked: Asked) -> Runtime:
    """Return the runtime of the process that serves a call."""
    serving: Runtime = asked.process
    return serving
