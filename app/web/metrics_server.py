"""Answers ``GET /metrics`` for a role that serves nothing else, in a thread of the process that its workers are forked from."""

import contextlib
import hmac
import http.server
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATIENCE_S = 5.0  # for a scraper that connects and says nothing


@contextlib.contextmanager
def answering(role: str, host: str, port: int, token: str) -> Iterator[None]:
    """Answer with the metrics of a role while the block runs.

    :param token: the bearer token that a scraper shows.
    :raises OSError: the port is taken.
    """
    server = http.server.ThreadingHTTPServer((host, port), _handler(role, token))
    server.daemon_threads = True
    with ThreadPoolExecutor(1, "metrics") as pool:
        pool.submit(server.serve_forever, 0.2)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def _handler(role: str, token: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = PATIENCE_S

        def do_GET(self) -> None:
            """Answer a scraper."""
            shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, b"only /metrics is here\n")
            elif not hmac.compare_digest(token.encode(), shown.encode()):
                self._answer(401, b"show LOOPWISE_METRICS_TOKEN as bearer token\n")
            else:
                from app.foundation import metrics  # noqa: PLC0415 - it reads where counters are when it is first imported

                self._answer(200, metrics.render([], only=role))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: scrapers come every few seconds."""

    return Handler
