"""Connections to PostgreSQL with a deadline on every wait. The only module that makes an engine.

PostgreSQL's ``statement_timeout`` cannot fire while the server process itself is stopped, and libpq would wait for it
for ever. So a process that serves requests registers a psycopg2 wait callback: each wait on the socket ends at the
deadline of the thread that waits. (COPY does not work under such a callback; workers, which use COPY, do without.)
"""

import random
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import orjson
import psycopg2
import psycopg2.extensions
from sqlalchemy import Connection, Engine, Row, create_engine, event, exc
from sqlalchemy.engine import make_url

from app.foundation.errors import Unavailable
from app.foundation.secrets import Purpose, derive
from app.foundation.settings import Settings
from app.foundation.store.chain import CHAIN_KEY

# A host that vanished without a word is noticed within half a minute, also by processes without a wait callback.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
CONNECTING = (0, 20)  # psycopg2 shows these statuses while a connection is being made
CONNECT_WAIT_S = 2.0
AnyRow = Row[*tuple[Any, ...]]

_limits = threading.local()  # .wait_s: this thread's own limit for one wait, in seconds
_default_wait_s = 10.0


class WaitTimeout(psycopg2.OperationalError):
    """The database did not answer within the deadline; the connection is closed."""


MOST_RETRY_S = 4
LAST_WAIT_S = 0.25  # a request past its deadline may still ask a database that answers at once
LONG_STATEMENT_S = 300.0  # for workers and the command line, where nobody waits for an answer


def create(
    database_url: str,
    settings: Settings,
    *,
    pool_size: int | None = None,
    statement_timeout_s: float = LONG_STATEMENT_S,
    ping: bool = True,
    autocommit: bool = False,
) -> Engine:
    """An engine for one process.

    :param ping: ask a pooled connection whether it still lives before it is used, so that a database that was restarted
        costs nobody an error. The log's writer does without: it repeats what failed.
    :param autocommit: each statement is a transaction by itself. For the whole engine: a connection that is switched for one
        use is switched back when it returns to the pool. A connection that broke in the meantime fails at that point, and the
        pool loses it.
    """
    if not database_url:
        raise Unavailable(
            "no_database", "DATABASE_URL is empty: start `loopwise up`, or set it to a PostgreSQL server."
        )
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    session = _limits_of(statement_timeout_s)
    limits = (
        {} if settings.pgbouncer else {"options": " ".join(f"-c {name}={value}" for name, value in session.items())}
    )
    engine = create_engine(
        url,
        pool_size=pool_size or settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.decide_deadline_s,
        pool_use_lifo=True,
        pool_pre_ping=ping,
        isolation_level="AUTOCOMMIT" if autocommit and not settings.pgbouncer else None,
        execution_options={CHAIN_KEY: settings.secret_key and derive(settings.secret_key, Purpose.LOG_CHAIN)},
        hide_parameters=True,  # an error's text goes to the log, which keeps nothing about people
        json_serializer=lambda value: orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
        json_deserializer=orjson.loads,
        connect_args={**limits, "connect_timeout": 3, "application_name": "loopwise", **KEEPALIVES},
    )
    if settings.pgbouncer:  # another client may get the server's session after each transaction
        limits_here = "; ".join(f"SET LOCAL {name} = {value}" for name, value in session.items())
        event.listen(engine, "begin", partial(_limit, limits_here))
    return engine


def _limits_of(statement_timeout_s: float) -> dict[str, int | str]:
    timeout_ms = int(statement_timeout_s * 1000)
    return {
        "statement_timeout": timeout_ms,
        "lock_timeout": min(timeout_ms, 10_000),
        "idle_in_transaction_session_timeout": max(timeout_ms * 5, 30_000),
        "timezone": "UTC",
    }


def _limit(statements: str, connection: Connection) -> None:
    connection.exec_driver_sql(statements)


def install_wait_deadline(default_wait_s: float) -> None:
    """Bound every wait of this process for PostgreSQL. Call once, before the first connection."""
    global _default_wait_s  # noqa: PLW0603 - psycopg2 has one wait callback for the whole process
    _default_wait_s = default_wait_s
    psycopg2.extensions.set_wait_callback(_wait)


@contextmanager
def wait_limit(seconds: float) -> Iterator[None]:
    """Waits of this thread inside the block end after ``seconds`` each."""
    before = getattr(_limits, "wait_s", None)
    _limits.wait_s = seconds
    try:
        yield
    finally:
        _limits.wait_s = before


def begin_request(seconds: float) -> None:
    """From now on this thread serves one request, which has that long for all its waits together."""
    _limits.ends_at = time.monotonic() + seconds


def end_request() -> None:
    """This thread's waits are its own again."""
    _limits.ends_at = None


def patience_s(wait_s: float) -> float:
    """How long this thread may wait now: ``wait_s``, or what is left of its request, but never less than a moment."""
    ends_at = getattr(_limits, "ends_at", None)
    return wait_s if ends_at is None else min(wait_s, max(LAST_WAIT_S, ends_at - time.monotonic()))


def _wait(connection: Any) -> None:
    wait_s = getattr(_limits, "wait_s", None) or _default_wait_s
    if connection.status in CONNECTING:  # a server that dies may leave a connection that nobody will ever answer
        wait_s = min(wait_s, CONNECT_WAIT_S)
    deadline = time.monotonic() + patience_s(wait_s)
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        if not _ready(connection.fileno(), state == psycopg2.extensions.POLL_WRITE, deadline - time.monotonic()):
            raise WaitTimeout("the database did not answer in time")


def _ready(descriptor: int, write: bool, seconds: float) -> bool:
    if seconds <= 0:
        return False
    if hasattr(select, "poll"):  # select() cannot watch descriptors above 1023, which many clients at once reach
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT if write else select.POLLIN)
        return bool(poller.poll(seconds * 1000))
    reading, writing = ([], [descriptor]) if write else ([descriptor], [])
    return any(select.select(reading, writing, [], seconds))


def is_outage(error: BaseException) -> bool:
    """True when the database is away, frozen or restarting, rather than refusing what was asked."""
    if isinstance(error, exc.TimeoutError):  # every pooled connection stayed in use
        return True
    if isinstance(error, exc.DBAPIError):
        if (getattr(error.orig, "pgcode", None) or "").startswith("54"):
            return False  # a value beyond PostgreSQL's limits: psycopg2 calls that operational too, but no retry helps
        return error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction; an outage becomes ``Unavailable``."""
    try:
        with engine.begin() as connection:
            yield connection
    except (exc.DBAPIError, exc.TimeoutError, psycopg2.Error) as error:
        if is_outage(error):
            raise unavailable() from error
        raise


def unavailable() -> Unavailable:
    """The answer to every outage."""
    detail = "The database did not answer in time; send the same request again."
    return Unavailable("database_unavailable", detail, retry_after_s=_soon_s())


def overloaded(wait_s: int | None = None) -> Unavailable:
    """The answer to what could not be done in time.

    :param wait_s: after how long to try again; drawn when not given.
    """
    detail = "More is waiting than can be answered in time; nothing was stored. Send the same request again."
    return Unavailable("overloaded", detail, retry_after_s=wait_s or _soon_s())


def _soon_s() -> int:
    """When to try again: not everybody in the same second."""
    return random.randint(1, MOST_RETRY_S)  # noqa: S311 - nothing secret
