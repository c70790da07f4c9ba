"""Takes the steps of services on the event loop: what the log's writer does comes back as futures, what blocks has threads.

Every call has a moment at which it is answered, whatever still waits: with 503, and what was stored all the same does not count.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from app.foundation.group_commit import GroupCommit, Store
from app.foundation.running.jobs import AnyJob, Job
from app.foundation.running.steps import PAUSE, Step, Steps
from app.foundation.store.engine import begin_request, end_request, overloaded, unavailable

T = TypeVar("T")
THREADS: Final = 8  # for what blocks in the calls of apps; pages and reports have others
QUIET_TURNS: Final = 1
GATHER_S: Final = 0.002  # no job waits longer for others
MOST_BLOCKED: Final = 64  # calls that wait for one of these threads


class Waiting:
    """What the calls of one process wait for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: GroupCommit) -> None:
        self._loop = loop
        self._writer = writer
        self._jobs: deque[tuple[float, AnyJob]] = deque()  # by their ends, nearly
        self._new: list[AnyJob] = []  # not yet with the writer
        self._threads = ThreadPoolExecutor(THREADS, "calls")
        self._blocked = 0

    async def take(self, steps: Steps[T], ends_at: float) -> T:
        """Take every step of a service, and return what it returns, or raise what it raises.

        :param ends_at: on the monotonic clock; what is not done then raises ``Unavailable``.
        """
        try:
            step = steps.send(None)
            while True:
                try:
                    value = await self._taken(step, ends_at)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the service's to handle
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _taken(self, step: Step, ends_at: float) -> Any:
        if type(step) is Store:
            future = self._loop.create_future()
            job = Job(step.handler, step.rows, self, future)
            self._jobs.append((ends_at, job))
            self._new.append(job)
            if len(self._new) == 1:
                self._loop.call_soon(self._hand_over, 0, QUIET_TURNS)
            return await future
        if step is PAUSE:
            return await asyncio.sleep(0)
        return await self._blocking(step.now, ends_at)

    def _hand_over(self, known: int, turns: int) -> None:
        """Hand new jobs to the writer together, once the loop has had some turns that brought no others.

        A commit costs the writer and PostgreSQL as much as thirty rows, so no burst of calls should begin with a commit of one.
        """
        jobs = self._new
        now = len(jobs)
        if now > known:
            turns = QUIET_TURNS
        if turns and time.monotonic() - jobs[0].came_at < GATHER_S:
            self._loop.call_soon(self._hand_over, now, turns - 1)
            return
        self._new = []
        self._writer.enqueue(jobs)
        _resolve([job for job in jobs if job.done])  # the writer has refused them

    async def _blocking(self, call: Callable[[], T], ends_at: float) -> T:
        if self._blocked >= MOST_BLOCKED:
            raise overloaded()
        self._blocked += 1
        try:
            run = contextvars.copy_context().run
            return await self._loop.run_in_executor(self._threads, run, _within, call, ends_at)
        finally:
            self._blocked -= 1

    def done(self, jobs: list[AnyJob]) -> None:
        """The writer's thread tells of jobs that are done."""
        self._loop.call_soon_threadsafe(_resolve, jobs)

    def look(self, now: float) -> None:
        """Give up the jobs whose time is over."""
        jobs = self._jobs
        while jobs and (jobs[0][1].done or jobs[0][0] <= now):
            _, job = jobs.popleft()
            if not job.done and self._writer.abandon(job) and not job.waiter.done():
                job.waiter.set_exception(unavailable())

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _resolve(jobs: list[AnyJob]) -> None:
    for job in jobs:
        if not job.waiter.done():
            if job.error is not None:
                job.waiter.set_exception(job.error)
            else:
                job.waiter.set_result(job.outcome)


def _within(call: Callable[[], T], ends_at: float) -> T:
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise unavailable()
    begin_request(left_s)
    try:
        return call()
    finally:
        end_request()
