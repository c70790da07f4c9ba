"""Questions to the database whose askers do not wait for it: health checks and scrapes are answered in a moment."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from app.foundation.errors import Unavailable

T = TypeVar("T")
WAIT_S: Final = 0.08  # an answer of the server takes no more than a tenth of a second


class Prompt(Generic[T]):
    """One question, asked in a thread of its own, one at a time; who asks meanwhile shares its answer."""

    def __init__(self, ask: Callable[[], T], fresh_s: float) -> None:
        """:param fresh_s: an answer of so many seconds ago will do where the database is slow."""
        self._ask = ask
        self._fresh_s = fresh_s
        self._thread = ThreadPoolExecutor(1, "prompt")
        self._lock = threading.Lock()
        self._asking: Future[T] | None = None
        self._answer: tuple[float, T] | None = None

    def answer(self) -> T | None:
        """The newest answer; null: there is none that is fresh."""
        with self._lock:
            if self._asking is None or self._asking.done():
                self._asking = self._thread.submit(self._timed)
            asking = self._asking
        try:
            return asking.result(WAIT_S)
        except Unavailable:
            return None
        except TimeoutError:
            known = self._answer
            return known[1] if known is not None and time.monotonic() - known[0] < self._fresh_s else None

    def _timed(self) -> T:
        answer = self._ask()
        self._answer = time.monotonic(), answer
        return answer
