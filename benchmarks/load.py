"""A load generator that costs little: raw non-blocking sockets, requests that are ready as bytes, one closed loop each.

It runs in the benchmark's process, which is not the server's. One request costs it some 20 microseconds.
"""

import selectors
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple


class Load(NamedTuple):
    """The answers of a run."""

    answers: int
    seconds: float
    latencies_s: list[float]  # one per answer, sorted

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the answers did not exceed, in milliseconds."""
        return 1000 * self.latencies_s[min(len(self.latencies_s) - 1, int(share * len(self.latencies_s)))]


class _Connection:
    __slots__ = ("missing", "received", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.missing = -1  # bytes still to come; -1: the head is not complete
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.received, self.missing = b"", -1
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def read(self) -> bool:
        """Read the bytes that have arrived; True when the answer is complete."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed a connection")
        if self.missing >= 0:
            self.missing -= len(data)
            return self.missing == 0
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head >= 0:
            self.missing = _length(self.received[:head]) - (len(self.received) - head - 4)
        return self.missing == 0


def closed_loop(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float | None = None, count: int | None = None
) -> Load:
    """Send the requests in turn, over and over; each connection sends the next one when the last is answered.

    :param seconds: stop after so long; or
    :param count: stop after so many answers.
    """
    open_ones = [_Connection(port) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    for connection in open_ones:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    began = time.perf_counter()
    end = began + (seconds if seconds is not None else float("inf"))
    most = count if count is not None else 1 << 62
    latencies: list[float] = []
    sent = 0
    for connection in open_ones[:most]:
        connection.send(requests[sent % len(requests)])
        sent += 1
    while len(latencies) < sent:
        for key, _ in selector.select():
            connection = key.data
            if not connection.read():
                continue
            now = time.perf_counter()
            latencies.append(now - connection.sent_at)
            if now < end and sent < most:
                connection.send(requests[sent % len(requests)])
                sent += 1
    finished = time.perf_counter()
    for connection in open_ones:
        connection.socket.close()
    selector.close()
    return Load(len(latencies), finished - began, sorted(latencies))


def _length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"the server answered {head.splitlines()[0]!r}")
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    raise RuntimeError("an answer without a length")
