"""Both clients with one blocking interface, and a proxy in front of the real server that loses answers."""

import asyncio
import http.client
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from loopwise_client import AsyncClient, Client

HANG_S = 30.0


class Awaited:
    """An ``AsyncClient`` whose methods wait, on a loop in a thread of its own: a browser's may be running in this one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._wait(method(*arguments, **options))

    def __repr__(self) -> str:
        return f"{self._client!r} {vars(self._client)!r}"

    def close(self) -> None:
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _wait(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(120)


KINDS: dict[str, Callable[..., Any]] = {"sync": Client, "async": Awaited}


class Request(NamedTuple):
    """A request that arrived at ``Between``."""

    path: str
    body: bytes
    at_s: float  # time.monotonic


class Handler(BaseHTTPRequestHandler):
    """One connection of ``Between``."""

    protocol_version = "HTTP/1.1"
    server: "Between"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.requests.append(Request(self.path, body, time.monotonic()))
            step = next(self.server.script, pass_on)
        step(self, body)

    do_GET = do_POST

    def upstream(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The real server's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=20)
        sent = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        connection.request(self.command, self.path, body, sent)
        response = connection.getresponse()
        answer = response.status, {"Content-Type": response.headers["Content-Type"]}, response.read()
        connection.close()
        return answer

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Step = Callable[[Handler, bytes], None]  # the treatment of one request


def pass_on(handler: Handler, body: bytes) -> None:
    handler.send(*handler.upstream(body))


def cut(handler: Handler, body: bytes) -> None:
    """Let the server do its work, and lose its answer with the connection."""
    handler.upstream(body)
    handler.close_connection = True


def hang(handler: Handler, body: bytes) -> None:
    """Accepted, read, and never answered."""
    handler.server.over.wait(HANG_S)
    handler.close_connection = True


def dribble(handler: Handler, body: bytes) -> None:
    """Send a byte from time to time, so that no single wait is long."""
    handler.close_connection = True
    end = time.monotonic() + HANG_S
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while time.monotonic() < end and not handler.server.over.wait(0.05):
        handler.wfile.write(b"x")


def answer(status: int, body: bytes = b"{}", **headers: str) -> Step:
    """Answer in place of the real server."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send(status, named, body)


class Between(ThreadingHTTPServer):
    """A proxy that treats each request by the next step of a script, and passes on all later requests."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, upstream_port: int, script: Iterable[Step], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream_port = upstream_port
        self.script = iter(script)
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Ignore callers that closed the connection."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()
