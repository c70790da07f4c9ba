"""Rows on their way to the log's writer: how a kind of rows is stored, and the jobs that bring them."""

import time
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection

from app.foundation.errors import LoopwiseError

Row = TypeVar("Row")
Outcome = TypeVar("Outcome")


class Handler(NamedTuple, Generic[Row, Outcome]):
    """How rows of one kind are stored."""

    # All jobs of a batch, each a list of rows; returns one outcome or one error per job. Stores nothing of a job in error.
    store: Callable[[Connection, list[list[Row]]], list[Outcome | LoopwiseError]]
    # Rows whose waiter had gone, and the outcome that nobody got; null: it is not known whether they were stored.
    unanswered: Callable[[Connection, list[Row], Outcome | None], None]
    # Writes with one statement, which is a transaction by itself: without BEGIN and COMMIT the writer waits for the server
    # once per batch instead of three times, and each time for its turn among the request threads.
    one_statement: bool = False


def keep(connection: Connection, rows: list[Row], outcome: object) -> None:
    """For ``unanswered``: rows whose caller was told 503 stay. They happened, and sending them again changes nothing."""


class Home(Protocol):
    """Where jobs come from, which is told once per commit when they are done."""

    def done(self, jobs: list["AnyJob"]) -> None: ...


class Job(Generic[Row, Outcome]):
    """Rows on their way, and what became of them."""

    __slots__ = ("abandoned", "came_at", "done", "error", "handler", "home", "outcome", "rows", "waiter")

    def __init__(
        self, handler: Handler[Row, Outcome], rows: list[Row], home: Home, waiter: Any
    ) -> None:  # what home finds the waiting by
        self.handler = handler
        self.rows = rows
        self.home = home
        self.waiter = waiter
        self.came_at = time.monotonic()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.done = False
        self.abandoned = False


AnyJob = Job[Any, Any]  # the queue holds jobs of every kind; a batch is of one kind
