"""The product's web role, one process: python -m benchmarks.server PORT [wsgi]

With ``wsgi`` it is the front of before: every request, decisions too, waits in a thread of Flask's. Then ``/constant`` answers
before Flask sees the request, so it costs what the HTTP server itself costs.
"""

import sys
from collections.abc import Iterable
from typing import Any

from app.commands.roles import run_web
from app.foundation.settings import from_environment
from app.web.app import create_app

BODY = b'{"status":"alive"}'
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]


def create() -> Any:
    """The WSGI app of one process."""
    product = create_app()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/constant":
            start_response("200 OK", HEADERS)
            return [BODY]
        return product(environ, start_response)

    return app


if __name__ == "__main__":
    if sys.argv[2:] == ["wsgi"]:
        run_web(from_environment(), "127.0.0.1", int(sys.argv[1]), "benchmarks.server:create", wsgi=True)
    else:
        run_web(from_environment(), "127.0.0.1", int(sys.argv[1]))
