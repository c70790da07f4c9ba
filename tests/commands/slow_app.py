"""An app that answers after a second, so that a test can stop the server in between."""

import time
from collections.abc import Callable, Iterable
from typing import Any


def create_app() -> Callable[..., Iterable[bytes]]:
    """Build the app, in place of app.web.app.create_app."""

    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        time.sleep(1)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    return app
