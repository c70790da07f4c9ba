"""A stand-in for the application: answers after a second, so that a test can stop the server meanwhile."""

import time
from collections.abc import Callable, Iterable
from typing import Any


def create_app() -> Callable[..., Iterable[bytes]]:
    """Build it, as app.web.create_app would."""

    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        time.sleep(1)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    return app
