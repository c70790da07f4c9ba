"""Background threads: one helper for all of them. None can die or hang without being noticed.

A turn that raises is logged and counted as an unfinished turn; the thread goes on. A thread that is dead all the same, or whose
turn does not end, makes ``problems`` tell, so that /readyz turns red, and the watchdog ends the process: whoever started it
starts it again, and that is a fault which is known to be safe.
"""

import os
import threading
from collections.abc import Callable
from typing import Final

import structlog

PAUSE_S: Final = 0.5  # after a turn that raised
WATCH_S: Final = 1.0
EXIT_CODE: Final = 70  # of a process that ends itself

log = structlog.get_logger()
_threads: "set[Background]" = set()
_lock = threading.Lock()


class Background:
    """A thread that takes turns until it is stopped."""

    def __init__(self, name: str, turn: Callable[[], bool], stuck_after_s: float) -> None:
        """:param turn: one turn, which ends by itself within seconds also when there is nothing to do; False: it was the last.
        :param stuck_after_s: a turn that takes longer will never end.
        """
        self.name = name
        self._turn = turn
        self._most_watches = stuck_after_s / WATCH_S
        self._turns = 0
        self._seen = -1  # the number of turns at the watchdog's last look
        self._watches = 0  # looks since that number changed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. From now on it is watched."""
        with _lock:
            _threads.add(self)
            if not any(thread.name == "watchdog" for thread in threading.enumerate()):
                threading.Thread(target=_watch, name="watchdog", daemon=True).start()
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the last turn; the caller has told the turn to be the last. Not watched any more."""
        with _lock:
            _threads.discard(self)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def problem(self) -> str | None:
        """What is wrong with the thread; null when nothing is."""
        if self._thread.ident is not None and not self._thread.is_alive():
            return f"thread {self.name} is dead"
        if self._watches > self._most_watches:
            return f"thread {self.name} has not finished a turn for {self._watches * WATCH_S:.0f} s"
        return None

    def look(self) -> None:
        """Count the looks of the watchdog without a new turn. Counting looks, not seconds, forgives a process that was frozen."""
        self._watches = 0 if self._turns != self._seen else self._watches + 1
        self._seen = self._turns

    def _run(self) -> None:
        going = True
        while going:
            try:
                going = self._turn()
            except Exception:  # whatever it is, the thread must survive it
                log.exception("turn_failed", thread=self.name)
                _pause.wait(PAUSE_S)
            self._turns += 1
        with _lock:
            _threads.discard(self)


_pause = threading.Event()  # never set


def problems() -> list[str]:
    """What is wrong with the threads of this process."""
    with _lock:
        threads = list(_threads)
    return [problem for thread in threads if (problem := thread.problem()) is not None]


def _watch() -> None:
    while not _pause.wait(WATCH_S):
        with _lock:
            threads = list(_threads)
        for thread in threads:
            thread.look()
        # Twice, so that a load balancer sees /readyz red before the process is gone.
        if (wrong := problems()) and not _pause.wait(WATCH_S) and (wrong := problems()):
            log.critical("process_ends_itself", problems=wrong)
            os._exit(EXIT_CODE)
