"""One writer per process: requests hand over rows and wait; everything that waits is committed at once.

A frozen or absent database costs a waiter its deadline, never a hang: the writer alone waits longer. When the oldest job has
waited so long that a new one could not be stored in time, new ones are refused. What was committed after its waiter gave up
is handed to the handler's ``unanswered``, so that a decision that nobody was shown does not count.
Handlers must be safe to repeat: after a lost connection the same rows are stored again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, Engine, exc

from app.foundation.errors import LoopwiseError, TooManyRequests
from app.foundation.running.jobs import AnyJob, Handler, Job
from app.foundation.running.steps import Steps
from app.foundation.running.threads import Background
from app.foundation.settings import Settings
from app.foundation.store.engine import is_outage, overloaded, patience_s, unavailable, wait_limit

WRITER_WAIT_S = 5.0  # one wait of the writer; its clients have given up long before
RETRY_PAUSE_S = 0.05
IDLE_S = 1.0  # a turn without work
STUCK_S = 60.0  # a turn is a few statements, and each wait for the server ends
REFUSING_SHARE: Final = 0.4  # of the deadline: while the oldest job has waited so long, no new one is taken

log = structlog.get_logger()

Row = TypeVar("Row")
Outcome = TypeVar("Outcome")


class _Threads:
    """The home of jobs whose threads wait: each has a lock that is held until the outcome is known."""

    def done(self, jobs: list["AnyJob"]) -> None:
        for job in jobs:
            job.waiter.release()


_THREADS: Final = _Threads()


class Store(NamedTuple, Generic[Row, Outcome]):
    """The step of a service that stores rows; it gets the handler's outcome."""

    writer: "GroupCommit"
    handler: Handler[Row, Outcome]
    rows: list[Row]

    def now(self) -> Outcome:
        return self.writer.submit(self.handler, self.rows)


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
        self._queue: deque[AnyJob] = deque()
        self._waiting_rows = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._gone: list[AnyJob] = []  # jobs whose waiter had gone and that are, or may be, stored
        self._writing_since: float | None = None  # when the oldest job came that is being written
        self._failing = False  # somebody gave up, and nothing has been stored since
        self._refusing_s = REFUSING_SHARE * settings.decide_deadline_s
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

    def stored(self, handler: Handler[Row, Outcome], rows: list[Row]) -> Steps[Outcome]:
        """Store rows durably, as a step of a service. Raises as ``submit`` does."""
        outcome: Outcome = yield Store(self, handler, rows)
        return outcome

    def submit(self, handler: Handler[Row, Outcome], rows: list[Row]) -> Outcome:
        """Store rows durably and return the handler's outcome for them. This thread waits.

        :raises Unavailable: the rows may not have been stored within the deadline, or could not be.
        :raises TooManyRequests: too many rows are waiting already.
        """
        lock = threading.Lock()
        lock.acquire()
        job = Job(handler, rows, _THREADS, lock)
        self.enqueue([job])
        if job.error is not None:
            raise job.error
        if not lock.acquire(timeout=patience_s(self._deadline_s)) and self.abandon(job):
            raise unavailable()
        if job.error is not None:
            raise job.error
        assert job.outcome is not None
        return job.outcome

    def enqueue(self, jobs: Sequence[AnyJob]) -> None:
        """Take jobs; their homes are told when they are done. A job that is refused is done at once, with its error:

        ``Unavailable``, if the oldest job has waited for so long that this one could not be stored in time, or
        ``TooManyRequests``, if too many rows are waiting already.
        """
        with self._changed:
            for job in jobs:
                job.error = self._refusal(job)
                if job.error is not None:
                    job.done = True
                else:
                    self._queue.append(job)
                    self._waiting_rows += len(job.rows)
            self._changed.notify()

    def _refusal(self, job: AnyJob) -> LoopwiseError | None:
        busy = bool(self._queue) or self._writing_since is not None
        if self._waited_s(job.came_at) > self._refusing_s or (self._failing and busy):
            return overloaded()  # of a log that fails, one job at a time finds out whether it still does
        if self._waiting_rows + len(job.rows) > self._queue_rows:
            return TooManyRequests("queue_full", f"{self._waiting_rows} rows wait to be stored; send this again later.")
        return None

    def abandon(self, job: "AnyJob") -> bool:
        """The waiter gives up; False: the job is done, and its home is being told."""
        with self._changed:
            if job.done:
                return False
            job.abandoned = True
            self._failing |= time.monotonic() - job.came_at > self._refusing_s
            if job in self._queue:
                self._queue.remove(job)
                self._waiting_rows -= len(job.rows)
        return True

    def disown(self, handler: Handler[Row, Outcome], rows: list[Row]) -> None:
        """Hand rows that are stored to the handler's ``unanswered``: nobody saw the answer."""
        with self._changed:
            self._gone.append(Job(handler, rows, _THREADS, None))
            self._changed.notify()

    def _waited_s(self, now: float) -> float:
        oldest = self._writing_since if self._writing_since is not None else now
        return now - min(oldest, self._queue[0].came_at if self._queue else now)

    def _turn(self) -> bool:
        with self._changed:
            if not self._queue and not self._gone and not self._stopping:
                self._changed.wait(IDLE_S)
            if not self._queue and not self._gone:
                return not self._stopping
            last = self._stopping and not self._queue  # what nobody saw is marked if the database answers now
            batch = self._take()
        try:
            self._write(batch)
        except Exception:
            self._give_up(batch)
            raise
        return not last

    def _give_up(self, batch: list[AnyJob]) -> None:
        """After a fault of our own nobody knows what was stored: waiters are told so, and what is stored is marked."""
        with self._changed:
            lost = [job for job in batch if not job.done]
            for job in lost:
                job.error, job.done = unavailable(), True
            self._gone += lost
            self._writing_since = None
        _tell(lost)

    def _take(self) -> list[AnyJob]:
        """The oldest job and those of its kind that fit: two kinds in one transaction would take locks in either order."""
        batch: list[AnyJob] = []
        left: list[AnyJob] = []
        rows = 0
        while self._queue:
            job = self._queue.popleft()
            if batch and (job.handler is not batch[0].handler or rows + len(job.rows) > self._batch_rows):
                left.append(job)
                continue
            batch.append(job)
            rows += len(job.rows)
        self._queue.extend(left)
        self._waiting_rows -= rows
        self._writing_since = min((job.came_at for job in batch), default=None)
        return batch

    def _write(self, batch: list[AnyJob]) -> None:
        with self._changed:
            gone = list(self._gone)
        try:
            with wait_limit(WRITER_WAIT_S), self._begin(batch, gone) as connection:
                for job in gone:  # first of all: a caller that asks again must find its row marked
                    job.handler.unanswered(connection, job.rows, job.outcome)
                outcomes = batch[0].handler.store(connection, [job.rows for job in batch]) if batch else []
        except Exception as error:  # noqa: BLE001 - whatever it is, its waiters are told: a writer that dies would silence the process
            self._failed(batch, error)
            return
        self._answer(batch, outcomes, gone)
        if batch:
            self._on_batch(sum(len(job.rows) for job in batch))

    def _begin(self, batch: list[AnyJob], gone: list[AnyJob]) -> AbstractContextManager[Connection]:
        alone = bool(batch) and not gone and batch[0].handler.one_statement
        return (self._autocommit if alone else self._engine).begin()

    def _answer(self, batch: list[AnyJob], outcomes: list[object], marked: list[AnyJob]) -> None:
        with self._changed:
            del self._gone[: len(marked)]  # others may have been added behind them meanwhile
            self._writing_since, self._failing = None, False
            for job, outcome in zip(batch, outcomes, strict=True):
                job.done = True
                if isinstance(outcome, LoopwiseError):
                    job.error = outcome
                else:
                    job.outcome = outcome
            self._gone += [job for job in batch if job.abandoned and job.error is None]
        _tell(batch)

    def _failed(self, batch: list[AnyJob], error: Exception) -> None:
        if isinstance(error, exc.DBAPIError | exc.TimeoutError) and is_outage(error):
            log.warning("log_write_failed", rows=len(batch), error=error)
            time.sleep(RETRY_PAUSE_S)
            with self._changed:  # in their old order, before whatever came since
                retried = [job for job in batch if not job.abandoned]
                self._queue.extendleft(reversed(retried))
                self._waiting_rows += sum(len(job.rows) for job in retried)
                self._writing_since = None
                # After a connection was lost at the commit, nobody knows whether the commit happened.
                self._gone += [job for job in batch if job.abandoned]
        elif len(batch) > 1:  # one bad row may have failed the batch: store the other rows without it
            for job in batch:
                self._write([job])
        elif not batch:
            with self._changed:
                log.error("unanswered_not_marked", rows=sum(len(job.rows) for job in self._gone), error=error)
                self._gone.clear()
        else:
            log.error("log_write_refused", error=error)
            with self._changed:
                batch[0].error, batch[0].done = error, True
                self._writing_since = None
            _tell(batch)


def _tell(jobs: list[AnyJob]) -> None:
    """Tell each home once of all its jobs."""
    homes: dict[int, list[AnyJob]] = {}
    for job in jobs:
        homes.setdefault(id(job.home), []).append(job)
    for its in homes.values():
        its[0].home.done(its)
