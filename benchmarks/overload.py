"""An open loop: calls come at their own pace, however many are answered. What share of its best does a server keep doing?

A call is good if it was answered with success within a second of its time. Each call has a connection that no other call uses at
that moment, as clients of different people do.
"""

import selectors
import socket
import time
from collections import Counter, deque
from statistics import median
from typing import Final, NamedTuple

from benchmarks import figures
from benchmarks.load import closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

FACTORS: Final = (0.5, 1.0, 2.0, 5.0)
SECONDS: Final = 6.0
PATIENCE_S: Final = 1.0
MOST_CONNECTIONS: Final = 4000
AIM: Final = 0.9


class Told(NamedTuple):
    """The answers of one run."""

    offered: float  # calls a second that were sent
    good: float  # a second
    late: float  # successes a second, after the patience
    refused: float  # a second
    unanswered: int
    refused_p50_ms: float


def measure(rig: Rig, rounds: int) -> None:
    """Print the goodput at each factor of the capacity."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    requests = [rig.request("/v1/decide", workload.request("bench", number)) for number in range(4096)]
    closed_loop(rig.port, requests, connections=32, seconds=1.0)
    runs: dict[float, list[Told]] = {factor: [] for factor in FACTORS}
    for _ in range(rounds):
        capacity = closed_loop(rig.port, requests, connections=64, seconds=3.0).rate
        for factor in FACTORS:
            runs[factor].append(open_loop(rig.port, requests, factor * capacity, SECONDS))
            time.sleep(1.0)
    figures.title("9. overload: POST /v1/decide in an open loop, by the share of the capacity that is offered")
    for factor in FACTORS:
        told = runs[factor]
        note = (
            f"of {median(run.offered for run in told):,.0f}/s offered; refused {median(run.refused for run in told):,.0f}/s "
            f"after {median(run.refused_p50_ms for run in told):.0f} ms; late {median(run.late for run in told):,.0f}/s; "
            f"never answered {sum(run.unanswered for run in told)}"
        )
        figures.line(f"good answers at {factor:g} times", f"{median(run.good for run in told):,.0f}/s", note)
    best = [max(runs[factor][number].good for factor in FACTORS) for number in range(rounds)]
    kept = sorted(run.good / most for run, most in zip(runs[FACTORS[-1]], best, strict=True))
    ranged = f"({kept[0]:.2f} to {kept[-1]:.2f}, aim {AIM:g})"
    figures.line(f"goodput at {FACTORS[-1]:g} times, of the best", f"{median(kept):.2f}", ranged)


def open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> Told:
    """Send calls at a rate, each at its own time, and wait two seconds for the last answers."""
    loop = _Loop(port)
    began = time.perf_counter()
    sent = 0
    while (now := time.perf_counter()) < began + seconds:
        due = min(int((now - began) * rate) + 1, sent + 200)
        while sent < due:
            loop.send(requests[sent % len(requests)], began + sent / rate)
            sent += 1
        loop.read(max(0.0, min(0.001, began + sent / rate - time.perf_counter())))
    took = time.perf_counter() - began
    while loop.waiting and time.perf_counter() < began + took + 2.0:
        loop.read(0.01)
    return loop.told(sent, took)


class _Loop:
    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._idle: deque[socket.socket] = deque()
        self._connections = 0
        self._asked: dict[socket.socket, float] = {}
        self._ended: Counter[str] = Counter()
        self._refused_s: list[float] = []

    @property
    def waiting(self) -> int:
        return len(self._asked)

    def send(self, request: bytes, due: float) -> None:
        connection = self._idle.pop() if self._idle else self._open()
        if connection is None:
            self._ended["unsent"] += 1
            return
        try:
            connection.sendall(request)
        except OSError:
            self._close(connection)
            self._ended["closed"] += 1
        else:
            self._asked[connection] = due

    def read(self, wait_s: float) -> None:
        for key, _ in self._selector.select(wait_s):
            connection: socket.socket = key.fileobj  # type: ignore[assignment]
            try:
                data = connection.recv(65536)
            except OSError:
                data = b""
            due = self._asked.pop(connection, None)
            if data and due is not None:  # an answer is smaller than a segment of the loopback interface
                self._note(data[9:12], time.perf_counter() - due)
            elif due is not None:
                self._ended["closed"] += 1
            if data and b"connection: close" not in data:
                self._idle.append(connection)
            else:
                self._close(connection)

    def told(self, sent: int, seconds: float) -> Told:
        """What became of the calls; closes the connections."""
        unanswered = len(self._asked) + self._ended["closed"]
        for connection in list(self._selector.get_map().values()):
            connection.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        offered = (sent - self._ended["unsent"]) / seconds
        good, late, refused = (self._ended[kind] / seconds for kind in ("good", "late", "refused"))
        return Told(offered, good, late, refused, unanswered, 1000 * median(self._refused_s or [0.0]))

    def _note(self, status: bytes, seconds: float) -> None:
        if status in (b"503", b"429"):
            self._ended["refused"] += 1
            self._refused_s.append(seconds)
        elif status in (b"200", b"201"):
            self._ended["good" if seconds <= PATIENCE_S else "late"] += 1
        else:
            raise RuntimeError(f"the server answered {status!r}")

    def _open(self) -> socket.socket | None:
        if self._connections >= MOST_CONNECTIONS:
            return None
        connection = socket.create_connection(("127.0.0.1", self._port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ)
        self._connections += 1
        return connection

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        with_room = self._idle
        if connection in with_room:
            with_room.remove(connection)
        connection.close()
        self._connections -= 1
