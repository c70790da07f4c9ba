"""Services in steps: what a service waits for it hands out, so that the same text runs in a thread and on an event loop.

A step is a call that blocks, rows for the log's writer (``app.foundation.group_commit``), or a pause in long work. ``run``
takes every step in its own thread. The front of the web process (``app.web.front``) takes them without holding up its loop.
"""

import time
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
SLICE_S: Final = 0.002  # so long one call may hold up the others of its process


class Step(Protocol):
    """What a service waits for."""

    def now(self) -> Any:
        """Do it in this thread, and return what the service gets."""
        ...


Steps = Generator[Step, Any, T]


class Blocking(NamedTuple):
    """A call that may wait: for the database, or for a lock that is held meanwhile."""

    call: Callable[[], object]

    def now(self) -> object:
        return self.call()


class _Pause:
    def now(self) -> None:
        """A thread has nobody to let pass."""


PAUSE: Final = _Pause()


class Slices:
    """Cuts long work: others of the process have their turn between two slices."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + SLICE_S

    def turn(self) -> Steps[None]:
        """Between two items: pause if the slice is over."""
        if time.monotonic() > self._ends_at:
            yield PAUSE
            self._ends_at = time.monotonic() + SLICE_S


def run(steps: Steps[T]) -> T:
    """Take every step in this thread, and return what the service returns, or raise what it raises."""
    try:
        step = next(steps)
        while True:
            try:
                value = step.now()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the service's to handle
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as done:
        result: T = done.value
        return result
