"""What the API and the pages share: this process's runtime, and the mark that opens a route to everybody."""

from flask import current_app

from app.services.runtime import Runtime

PUBLIC = "public"  # the scope of a route that needs no API key


def runtime() -> Runtime:
    """This process's runtime."""
    found: Runtime = current_app.extensions["loopwise"]
    return found
