"""One writer per process: request threads hand over rows and wait; everything that waits is committed at once.

A frozen or absent database costs a waiter its deadline, never a hang: the writer alone waits longer. What was committed
after its waiter gave up is handed to the handler's ``unanswered``, so that a decision that nobody was shown does not count.
Handlers must be safe to repeat: after a lost connection the same rows are stored again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, Engine, exc

from app.foundation.errors import LoopwiseError, TooManyRequests
from app.foundation.running.threads import Background
from app.foundation.settings import Settings
from app.foundation.store.engine import is_outage, patience_s, unavailable, wait_limit

WRITER_WAIT_S = 5.0  # one wait of the writer; its clients have given up long before
RETRY_PAUSE_S = 0.05
IDLE_S = 1.0  # a turn without work
STUCK_S = 60.0  # a turn is a few statements, and each wait for the server ends

log = structlog.get_logger()

Row = TypeVar("Row")
Outcome = TypeVar("Outcome")


class Handler(NamedTuple, Generic[Row, Outcome]):
    """How rows of one kind are stored."""

    # All jobs of a batch, each a list of rows; returns one outcome or one error per job. Stores nothing of a job in error.
    store: Callable[[Connection, list[list[Row]]], list[Outcome | LoopwiseError]]
    # Rows that were stored although their waiter had gone.
    unanswered: Callable[[Connection, list[Row]], None]
    # Writes with one statement, which is a transaction by itself: without BEGIN and COMMIT the writer waits for the server
    # once per batch instead of three times, and each time for its turn among the request threads.
    one_statement: bool = False


def keep(connection: Connection, rows: list[Row]) -> None:
    """For ``unanswered``: rows whose caller was told 503 stay. They happened, and sending them again changes nothing."""


class _Job(Generic[Row, Outcome]):
    __slots__ = ("abandoned", "done", "error", "handler", "outcome", "rows", "waiter")

    def __init__(self, handler: Handler[Row, Outcome], rows: list[Row]) -> None:
        self.handler = handler
        self.rows = rows
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.done = False
        self.abandoned = False
        self.waiter = threading.Lock()  # held until the outcome is known
        self.waiter.acquire()


_AnyJob = _Job[Any, Any]  # the queue holds jobs of every kind; a batch is of one kind


class GroupCommit:
    """The queue and its writer thread."""

    def __init__(self, engine: Engine, autocommit: Engine, settings: Settings, on_batch: Callable[[int], None]) -> None:
        """:param autocommit: an engine whose statements are transactions by themselves, for batches of one statement.
        :param on_batch: told the number of rows of each commit.
        """
        self._engine = engine
        self._autocommit = autocommit
        self._deadline_s = settings.decide_deadline_s
        self._batch_rows = settings.batch_rows
        self._queue_rows = settings.queue_rows
        self._on_batch = on_batch
        self._queue: deque[_AnyJob] = deque()
        self._waiting_rows = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._gone: list[_AnyJob] = []  # the writer's: jobs whose waiter had gone and that are, or may be, stored
        self._thread = Background("log-writer", self._turn, STUCK_S)

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(self._deadline_s)

    def submit(self, handler: Handler[Row, Outcome], rows: list[Row]) -> Outcome:
        """Store rows durably and return the handler's outcome for them.

        :raises Unavailable: the rows may not have been stored within the deadline.
        :raises TooManyRequests: too many rows are waiting already.
        """
        job = _Job(handler, rows)
        with self._changed:
            if self._waiting_rows + len(rows) > self._queue_rows:
                raise TooManyRequests(
                    "queue_full", f"{self._waiting_rows} rows wait to be stored; send this again later."
                )
            self._queue.append(job)
            self._waiting_rows += len(rows)
            self._changed.notify()
        if not job.waiter.acquire(timeout=patience_s(self._deadline_s)):
            self._abandon(job)
        if job.error is not None:
            raise job.error
        assert job.outcome is not None
        return job.outcome

    def _abandon(self, job: "_AnyJob") -> None:
        with self._changed:
            if job.done:
                return
            job.abandoned = True
            if job in self._queue:
                self._queue.remove(job)
                self._waiting_rows -= len(job.rows)
        raise unavailable()

    def _turn(self) -> bool:
        with self._changed:
            if not self._queue and not self._gone and not self._stopping:
                self._changed.wait(IDLE_S)
            if not self._queue and not self._gone:
                return not self._stopping
            if not self._queue and self._stopping:
                return False
            batch = self._take()
        try:
            self._write(batch)
        except Exception:
            self._give_up(batch)
            raise
        return True

    def _give_up(self, batch: list[_AnyJob]) -> None:
        """After a fault of our own nobody knows what was stored: waiters are told so, and what is stored is marked."""
        with self._changed:
            lost = [job for job in batch if not job.done]
            for job in lost:
                job.error, job.done = unavailable(), True
            self._gone += lost
        for job in lost:
            job.waiter.release()

    def _take(self) -> list[_AnyJob]:
        """The oldest job and those of its kind that fit: two kinds in one transaction would take locks in either order."""
        batch: list[_AnyJob] = []
        rows = 0
        for job in list(self._queue):
            if batch and (job.handler is not batch[0].handler or rows + len(job.rows) > self._batch_rows):
                continue
            self._queue.remove(job)
            self._waiting_rows -= len(job.rows)
            batch.append(job)
            rows += len(job.rows)
        return batch

    def _write(self, batch: list[_AnyJob]) -> None:
        try:
            with wait_limit(WRITER_WAIT_S), self._begin(batch) as connection:
                for job in self._gone:  # first of all: a caller that asks again must find its row marked
                    job.handler.unanswered(connection, job.rows)
                outcomes = batch[0].handler.store(connection, [job.rows for job in batch]) if batch else []
        except Exception as error:  # noqa: BLE001 - whatever it is, its waiters are told: a writer that dies would silence the process
            self._failed(batch, error)
            return
        self._gone.clear()
        self._answer(batch, outcomes)
        if batch:
            self._on_batch(sum(len(job.rows) for job in batch))

    def _begin(self, batch: list[_AnyJob]) -> AbstractContextManager[Connection]:
        alone = bool(batch) and not self._gone and batch[0].handler.one_statement
        return self._autocommit.connect() if alone else self._engine.begin()

    def _answer(self, batch: list[_AnyJob], outcomes: list[object]) -> None:
        with self._changed:
            for job, outcome in zip(batch, outcomes, strict=True):
                job.done = True
                if isinstance(outcome, LoopwiseError):
                    job.error = outcome
                else:
                    job.outcome = outcome
            self._gone += [job for job in batch if job.abandoned and job.error is None]
        for job in batch:
            job.waiter.release()

    def _failed(self, batch: list[_AnyJob], error: Exception) -> None:
        if isinstance(error, exc.DBAPIError | exc.TimeoutError) and is_outage(error):
            log.warning("log_write_failed", rows=len(batch), error=error)
            time.sleep(RETRY_PAUSE_S)
            with self._changed:  # in their old order, before whatever came since
                retried = [job for job in batch if not job.abandoned]
                self._queue.extendleft(reversed(retried))
                self._waiting_rows += sum(len(job.rows) for job in retried)
                # After a connection was lost at the commit, nobody knows whether the commit happened.
                self._gone += [job for job in batch if job.abandoned]
        elif len(batch) > 1:  # one bad row may have failed the batch: store the other rows without it
            for job in batch:
                self._write([job])
        elif not batch:
            log.error("unanswered_not_marked", rows=sum(len(job.rows) for job in self._gone), error=error)
            self._gone.clear()
        else:
            log.error("log_write_refused", error=error)
            with self._changed:
                batch[0].error, batch[0].done = error, True
            batch[0].waiter.release()
