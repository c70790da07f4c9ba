"""A supervised child process. If it ends by itself, it is restarted after a pause that grows with each failure."""

import subprocess
import time
from collections.abc import Callable

from app.embedded import process
from app.embedded.errors import ServerError

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_HEALTHY_S = 30.0  # a child that ran this long restarts after the shortest pause


class Child:
    """A process of `loopwise up`. All calls come from one thread."""

    def __init__(
        self,
        name: str,
        start: Callable[[], None],
        current: Callable[[], "subprocess.Popen[bytes] | None"],
        stop_signal: int,
        stop_deadline_s: float,
    ) -> None:
        """:param start: starts the process, and waits until it is ready if other processes need it at once.
        :param current: returns the process of the last start.
        """
        self.name = name
        self._start = start
        self._current = current
        self._stop_signal = stop_signal
        self._stop_deadline_s = stop_deadline_s
        self._pause_s = _FIRST_PAUSE_S
        self._started = 0.0  # monotonic
        self._restart_at: float | None = None  # monotonic; None: not waiting for a restart

    def start(self) -> None:
        """Start the process.

        :raises ServerError: the process does not start.
        """
        self._started = time.monotonic()
        self._start()

    @property
    def pid(self) -> int | None:
        """The process; null while there is none."""
        child = self._current()
        return child.pid if child is not None and child.poll() is None else None

    @property
    def started(self) -> float:
        """When the process was last started, by the monotonic clock."""
        return self._started

    def alive(self) -> bool:
        """Return True while the process runs."""
        child = self._current()
        return child is not None and child.poll() is None

    def heal(self, report: Callable[[str], None]) -> None:
        """Check the process once: note its end, or restart it after its pause. Call this repeatedly.

        :param report: called with a sentence for the log.
        """
        now = time.monotonic()
        if self._restart_at is None:
            if not self.alive():
                self._note_end(report, now)
        elif now >= self._restart_at:
            self._restart_at = None
            try:
                self.start()
            except (ServerError, OSError) as error:  # such as a disk that is full: the next try may work
                report(f"{self.name} could not be restarted: {error}")
            else:
                report(f"{self.name} restarted in {time.monotonic() - now:.2f} s")

    def _note_end(self, report: Callable[[str], None], now: float) -> None:
        child = self._current()
        if child is not None:
            process.kill_group(child.pid)  # its own children must not keep ports and locks
        self._pause_s = _FIRST_PAUSE_S if now - self._started > _HEALTHY_S else self._pause_s
        code = "" if child is None else f" (exit code {child.returncode})"
        report(f"{self.name} ended{code}; restarting in {self._pause_s:.1f} s")
        self._restart_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """Stop the process; kill it after its deadline."""
        child = self._current()
        if child is not None:
            process.stop(child, self._stop_signal, self._stop_deadline_s)

    def kill(self) -> None:
        """Kill the process and its children at once. Unfinished work is lost."""
        child = self._current()
        if child is not None and child.poll() is None:
            process.kill_tree(child.pid)
