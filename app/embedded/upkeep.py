"""What `loopwise up` looks after while everything runs: processes that are frozen, logs that grow, a disk that fills.

Nothing here raises for a full disk, and nothing waits: the same loop starts processes again.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from app.embedded import process
from app.embedded.children import Child
from app.foundation.running import disk

LOOK_S = 1.0
FROZEN_S = 10.0  # a process that was stopped (SIGSTOP) for so long is killed
SILENT_S = (
    60.0  # and a web server that answered no health check for so long; a start on a busy machine takes a part of it
)
DISK_S = 60.0  # between two warnings


class Upkeep:
    """Called again and again by the supervisor; it looks once a second."""

    def __init__(
        self,
        folder: Path,
        logs: Path,
        children: Sequence[Child],
        healthy: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        """:param healthy: asks the web server; may take seconds, and runs in a thread of its own."""
        self._folder = folder
        self._logs = logs
        self._children = children
        self._healthy = healthy
        self._say = say
        self._looked = self._answered = time.monotonic()
        self._warned = 0.0
        self._stopped: dict[int, float] = {}  # pid: monotonic
        self._asking: Future[bool] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="health")

    def look(self) -> None:
        """Look, if the last time is a second ago."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        if now - self._looked > FROZEN_S:  # we were frozen ourselves, and know nothing about the others
            self._stopped.clear()
            self._answered = now
        self._looked = now
        self._kill_frozen(now)
        self._kill_silent(now)
        for log in self._logs.glob("*.log"):
            process.rotate(log)
        self._warn(now)

    def _kill_frozen(self, now: float) -> None:
        stopped = {
            pid: child.name for child in self._children if child.pid is not None for pid in process.stopped(child.pid)
        }
        self._stopped = {pid: self._stopped.get(pid, now) for pid in stopped}
        for pid, since in list(self._stopped.items()):
            if now - since > FROZEN_S:
                self._say(f"{stopped[pid]} (process {pid}) was frozen for {FROZEN_S:.0f} s; killing it")
                process.kill(pid, signal.SIGKILL)
                del self._stopped[pid]

    def _kill_silent(self, now: float) -> None:
        """The web server, when it answers nothing. A process of it that hangs ends itself."""
        if self._asking is None:
            self._asking = self._pool.submit(self._healthy)
        elif self._asking.done():
            if self._asking.result():
                self._answered = now
            self._asking = None
        web = next(child for child in self._children if child.name == "web")
        if now - max(self._answered, web.started) > SILENT_S and web.alive():
            self._say(f"web has not answered for {SILENT_S:.0f} s; killing it")
            web.kill()
            self._answered = now

    def _warn(self, now: float) -> None:
        space = disk.of(os.fspath(self._folder))
        if space.low and now - self._warned > DISK_S:
            self._warned = now
            self._say(f"warning: {space.words()} When it is full, nothing is stored any more: free some, or move it.")
