"""Browsers that listen for messages: each holds a request's thread, one thread asks the database for all of them.

Places are few and end by themselves, so that listeners neither take the threads of other requests nor keep a process
from stopping.
"""

import queue
import threading
import time
from collections.abc import Iterator

import structlog
from sqlalchemy import Engine

from app.accounts.keys import Caller
from app.foundation.errors import Unavailable
from app.foundation.store.engine import transaction
from app.messaging.delivery.log import MOST_HELD
from app.messaging.store import deliveries as store
from app.messaging.store.deliveries import Held

POLL_S = 1.0
STREAM_S = 25.0  # then the stream ends and the browser comes again
HEARTBEAT_S = 10.0

log = structlog.get_logger()


class Listener:
    """One stream: what comes for a unit from now on."""

    def __init__(self, caller: Caller, unit_id: str, after_id: int) -> None:
        self.unit_id = unit_id
        self.after_id = after_id  # the last message that was shown; the poller's
        self.ends_at = time.monotonic() + STREAM_S
        self._experiment_id = caller.experiment_id
        self._messages: queue.SimpleQueue[Held | None] = queue.SimpleQueue()

    def offer(self, rows: list[Held]) -> None:
        """Hand over messages of the unit, oldest first."""
        for row in rows:
            if row.id > self.after_id:
                self.after_id = row.id
                if self._experiment_id in (None, row.experiment_id):
                    self._messages.put(row)

    def end(self) -> None:
        """Let the stream end now."""
        self._messages.put(None)

    def messages(self) -> Iterator[Held | None]:
        """Messages as they come, null when none came for a while, until the stream's time is over."""
        while (left := self.ends_at - time.monotonic()) > 0:
            try:
                row = self._messages.get(timeout=min(HEARTBEAT_S, left))
            except queue.Empty:
                yield None
                continue
            if row is None:
                return
            yield row


class Listeners:
    """The streams of one process, and the thread that asks for them."""

    def __init__(self, engine: Engine, places: int, stopping: threading.Event) -> None:
        """:param places: most streams at once."""
        self._engine = engine
        self._places = places
        self._stopping = stopping
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._thread: threading.Thread | None = None

    def enter(self, caller: Caller, unit_id: str, after_id: int) -> Listener | None:
        """A place for a stream; null when all are taken."""
        with self._lock:
            self._forget_ended()
            if len(self._listeners) >= self._places or self._stopping.is_set():
                return None
            listener = Listener(caller, unit_id, after_id)
            self._listeners.append(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="listeners", daemon=True)
                self._thread.start()
            return listener

    def leave(self, listener: Listener) -> None:
        """Give a place back; more than once does no harm."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _forget_ended(self) -> None:
        now = time.monotonic()
        self._listeners = [one for one in self._listeners if one.ends_at > now]

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            with self._lock:
                self._forget_ended()
                listeners = list(self._listeners)
            if listeners:
                self._poll(listeners)
        for listener in self._listeners:
            listener.end()

    def _poll(self, listeners: list[Listener]) -> None:
        after: dict[str, int] = {}
        for one in listeners:
            after[one.unit_id] = min(one.after_id, after.get(one.unit_id, one.after_id))
        try:
            with transaction(self._engine) as connection:
                rows = store.held(connection, list(after.items()), most=MOST_HELD)
        except Unavailable:
            log.warning("listeners_wait_for_the_database", listeners=len(listeners))
            return
        except Exception:  # a thread that died here would silence every stream of this process
            log.exception("listeners_failed")
            return
        for one in listeners:
            one.offer([row for row in reversed(rows) if row.unit_id == one.unit_id])
