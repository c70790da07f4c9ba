"""Flask behind the event loop: each request has a thread of a pool with places of its own, and its body is there already."""

import asyncio
import contextvars
import io
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from granian.rsgi import ProtocolClosed

from app.foundation.store.engine import overloaded
from app.web.front.rsgi import Proto, Scope

CHUNK_S: Final = 10.0  # a reader that takes no part of a stream for so long has gone
MOST_WAITING: Final = 4  # requests that wait for each thread
WHOLE_BYTES: Final = 4_000_000  # what is longer is sent in pieces

Environ = dict[str, Any]
Wsgi = Callable[..., Iterable[bytes]]


class Pool:
    """Threads that run a WSGI app, and the requests that wait for one."""

    def __init__(self, app: Wsgi, threads: int, name: str) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads, name)
        self._most = threads * (1 + MOST_WAITING)
        self._inside = 0

    async def answer(self, environ: Environ, proto: Proto, closing: bool) -> None:
        """Answer one request.

        :param closing: True: the connection ends with it.
        :raises Unavailable: too many requests wait for these threads.
        """
        if self._inside >= self._most:
            raise overloaded()
        self._inside += 1
        try:
            loop = asyncio.get_running_loop()
            call = _Call(self._app, environ, proto, loop, closing)
            context = contextvars.copy_context()
            await loop.run_in_executor(self._threads, context.run, call.run, time.monotonic())
            if call.whole is not None:
                proto.response_bytes(call.status, call.headers, call.whole)
        finally:
            self._inside -= 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Call:
    """One request in its thread."""

    def __init__(
        self, app: Wsgi, environ: Environ, proto: Proto, loop: asyncio.AbstractEventLoop, closing: bool
    ) -> None:
        self._app = app
        self._environ = environ
        self._proto = proto
        self._loop = loop
        self.status = 500
        self.headers: list[tuple[str, str]] = [("connection", "close")] if closing else []
        self.whole: bytes | None = None  # null: it was sent as a stream

    def run(self, came_at: float) -> None:
        self._environ["loopwise.waited_s"] = time.monotonic() - came_at
        pieces = self._app(self._environ, self._start)
        try:
            if any(name == "content-length" for name, _ in self.headers) or self.status in {204, 304}:
                self.whole = b"".join(pieces)
            else:
                asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
                self._stream(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _start(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        self.status = int(status[:3])
        self.headers += [(name.lower(), value) for name, value in headers]

    async def _open(self) -> None:
        self._transport = self._proto.response_stream(self.status, self.headers)

    def _stream(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if piece:
                sent = asyncio.run_coroutine_threadsafe(self._send(piece), self._loop)
                try:
                    sent.result(CHUNK_S)
                except (ProtocolClosed, TimeoutError):
                    sent.cancel()
                    return

    async def _send(self, piece: bytes) -> None:
        await self._transport.send_bytes(piece)


def environ_of(scope: Scope, body: bytes, length: int | None) -> Environ:
    """A WSGI environment (PEP 3333).

    :param length: of a body that was too long to be collected; Flask refuses it by that.
    """
    server, _, port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = f"HTTP_{name.upper().replace('-', '_')}"
        if key in environ:
            environ[key] += ("; " if name == "cookie" else ",") + value
        else:
            environ[key] = value
    content_type = environ.pop("HTTP_CONTENT_TYPE", None)
    if content_type is not None:
        environ["CONTENT_TYPE"] = content_type
    sent = environ.pop("HTTP_CONTENT_LENGTH", None) is not None or environ.pop("HTTP_TRANSFER_ENCODING", None)
    if sent:
        environ["CONTENT_LENGTH"] = str(len(body) if length is None else length)
    return environ
