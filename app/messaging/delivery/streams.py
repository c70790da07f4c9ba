"""Browsers that listen for messages. Each occupies the thread of its request; one thread polls the database for all.

Streams are limited in number and duration, so they neither take the threads of other requests nor keep a process from
stopping.
"""

import queue
import threading
import time
from collections.abc import Iterator

import structlog
from sqlalchemy import Engine

from app.accounts.keys import Caller
from app.foundation.errors import Unavailable
from app.foundation.running.threads import Background
from app.foundation.store.engine import transaction
from app.messaging.delivery.log import MOST_HELD
from app.messaging.store import deliveries as store
from app.messaging.store.deliveries import Held

POLL_S = 1.0
STREAM_S = 25.0  # then the stream ends and the browser connects again
HEARTBEAT_S = 10.0
STUCK_S = 60.0  # a poll is one statement

log = structlog.get_logger()


class Listener:
    """A stream of the messages that arrive for a unit from now on."""

    def __init__(self, caller: Caller, unit_id: str, after_id: int) -> None:
        self.unit_id = unit_id
        self.after_id = after_id  # the last message that was sent; only the polling thread changes it
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
        """End the stream now."""
        self._messages.put(None)

    def messages(self) -> Iterator[Held | None]:
        """Yield messages as they arrive until the stream's time is over; yield null after `HEARTBEAT_S` without a message."""
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
    """The streams of a process, and the thread that polls for them."""

    def __init__(self, engine: Engine, most: int, stopping: threading.Event) -> None:
        """:param most: streams at once."""
        self._engine = engine
        self._most = most
        self._stopping = stopping
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._thread: Background | None = None

    def enter(self, caller: Caller, unit_id: str, after_id: int) -> Listener | None:
        """Open a stream; null when the process has no stream free."""
        with self._lock:
            self._forget_ended()
            if len(self._listeners) >= self._most or self._stopping.is_set():
                return None
            listener = Listener(caller, unit_id, after_id)
            self._listeners.append(listener)
            if self._thread is None:
                self._thread = Background("listeners", self._turn, STUCK_S)
                self._thread.start()
            return listener

    def leave(self, listener: Listener) -> None:
        """Close a stream. Closing it twice does no harm."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _forget_ended(self) -> None:
        now = time.monotonic()
        self._listeners = [listener for listener in self._listeners if listener.ends_at > now]

    def _turn(self) -> bool:
        if self._stopping.wait(POLL_S):
            for listener in self._listeners:
                listener.end()
            return False
        with self._lock:
            self._forget_ended()
            listeners = list(self._listeners)
        if listeners:
            self._poll(listeners)
        return True

    def _poll(self, listeners: list[Listener]) -> None:
        after: dict[str, int] = {}
        for listener in listeners:
            unit_id, after_id = listener.unit_id, listener.after_id
            after[unit_id] = min(after_id, after.get(unit_id, after_id))
        try:
            with transaction(self._engine) as connection:
                rows = store.held(connection, list(after.items()), most=MOST_HELD)
        except Unavailable:
            log.warning("listeners_wait_for_the_database", listeners=len(listeners))
            return
        for listener in listeners:
            listener.offer([row for row in reversed(rows) if row.unit_id == listener.unit_id])
