"""A webhook's receiver: a real HTTP server in a thread, with configurable answers, which keeps the calls."""

import hashlib
import hmac
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson


class Call(NamedTuple):
    """One received request."""

    path: str
    headers: dict[str, str]  # by name in lower case
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)

    def signed_with(self, secret: str) -> bool:
        """The check that docs/api.md gives to receivers."""
        parts = dict(part.split("=", 1) for part in self.headers["loopwise-signature"].split(","))
        expected = hmac.new(secret.encode(), f"{parts['t']}.".encode() + self.raw, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, parts["v1"])


class Receiver:
    """Answers with ``answer(call, number)``: a status, or null for no answer until the receiver stops."""

    def __init__(self, answer: Callable[[Call, int], int | None]) -> None:
        self.calls: list[Call] = []
        self.at_once = self.most_at_once = 0
        self.stopping = threading.Event()
        self._answer = answer
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, call: Call) -> int | None:
        with self._lock:
            self.calls.append(call)
            number = len(self.calls)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            status = self._answer(call, number)
            if status is None:
                self.stopping.wait(60)
            return status
        finally:
            with self._lock:
                self.at_once -= 1

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take(Call(self.path, {k.lower(): v for k, v in self.headers.items()}, raw))
                if status is None:
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", receiver.url + "/elsewhere")
                self.end_headers()
                self.wfile.write(b"receiver says " + str(status).encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def receiving(answer: Callable[[Call, int], int | None] = lambda call, number: 200) -> Iterator[Receiver]:
    """A receiver for the duration of a block."""
    receiver = Receiver(answer)
    try:
        yield receiver
    finally:
        receiver.stop()
