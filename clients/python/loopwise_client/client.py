"""The two clients. Both have the methods of ``calls``, ``reports`` and ``people_calls``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NoResult  # an error of its own until Python 3.11
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from loopwise_client import calls, people_calls, reports
from loopwise_client.plan import Deadlines, Plan, Ready
from loopwise_client.transport import connections, give_up, perform

if TYPE_CHECKING:  # these are newer than Python 3.9
    from typing import Concatenate, ParamSpec, Self  # novm - of the type checker only

    P = ParamSpec("P")  # novm
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., object])
DECIDE_S, REPORT_S, CONNECTIONS = 1.0, 10.0, 100
GRACE_S = 0.25  # so long after the deadline, a waiting thread gives up by itself if nothing ended its call
CLOSE_S = 5.0


def _awaited(
    plan: Callable[Concatenate[Deadlines, P], Plan[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @functools.wraps(plan)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(plan(self._deadlines, *args, **kwargs))

    return _shown(method, plan)


def _waited(plan: Callable[Concatenate[Deadlines, P], Plan[T]]) -> Callable[Concatenate[Client, P], T]:
    @functools.wraps(plan)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(plan(self._deadlines, *args, **kwargs))

    return _shown(method, plan)


def _shown(method: M, plan: Callable[..., object]) -> M:
    """Show the method in ``help`` as a method of the client, with the type of its result."""
    signature = inspect.signature(plan)
    first, *others = signature.parameters.values()
    given = signature.return_annotation.removeprefix("Plan[").removesuffix("]")  # annotations are texts here
    shown = signature.replace(parameters=[first.replace(name="self", annotation=first.empty), *others])
    method.__signature__ = shown.replace(return_annotation=given)  # type: ignore[attr-defined]
    method.__module__ = __name__
    return method


class AsyncClient:
    """Calls one server with one key, for one asyncio event loop.

    :param url: of the server, such as https://loopwise.example.org.
    :param key: with the scopes decide and reward; consent_of, erase, erasure and person need people.
    :param deadline_s: the longest time of a decision, in seconds: connecting, sending, waiting and retries together.
    :param report_deadline_s: the same for every other call.
    :param max_connections: connections at once; further calls wait for one, within their deadline.
    :param verify: how the server's certificate is checked, as in httpx.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        deadline_s: float = DECIDE_S,
        report_deadline_s: float = REPORT_S,
        max_connections: int = CONNECTIONS,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._deadlines = Deadlines(deadline_s, report_deadline_s)
        self._http = connections(url, key, max_connections, verify)

    decide = _awaited(calls.decide)
    decide_batch = _awaited(calls.decide_batch)
    message = _awaited(calls.message)
    pending = _awaited(calls.pending)
    reward = _awaited(reports.reward)
    reward_batch = _awaited(reports.reward_batch)
    feedback = _awaited(reports.feedback)
    feedback_batch = _awaited(reports.feedback_batch)
    activate = _awaited(reports.activate)
    received = _awaited(reports.received)
    event = _awaited(reports.event)
    events = _awaited(reports.events)
    consent = _awaited(people_calls.consent)
    consent_of = _awaited(people_calls.consent_of)
    unit_token = _awaited(people_calls.unit_token)
    erase = _awaited(people_calls.erase)
    erasure = _awaited(people_calls.erasure)
    person = _awaited(people_calls.person)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def _run(self, plan: Plan[T]) -> T:
        if isinstance(plan, Ready):
            return plan.value
        return await perform(self._http, plan, time.monotonic() + plan.deadline_s)


class Client:
    """The client for code without asyncio, and for any number of threads at once; the parameters are those of ``AsyncClient``.

    Its connections live on an event loop in a thread of its own, which starts with the first call. So a deadline ends every
    wait, including the wait for a name server, which the timeout of a plain socket does not end.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        deadline_s: float = DECIDE_S,
        report_deadline_s: float = REPORT_S,
        max_connections: int = CONNECTIONS,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._deadlines = Deadlines(deadline_s, report_deadline_s)
        self._connect: Callable[[], httpx.AsyncClient] = lambda: connections(url, key, max_connections, verify)
        self._http: httpx.AsyncClient | None = self._connect()  # now, because it raises the errors of the arguments
        self._closed = False
        self._lock = threading.Lock()
        self._background: _Background | None = None
        _clients.add(self)

    decide = _waited(calls.decide)
    decide_batch = _waited(calls.decide_batch)
    message = _waited(calls.message)
    pending = _waited(calls.pending)
    reward = _waited(reports.reward)
    reward_batch = _waited(reports.reward_batch)
    feedback = _waited(reports.feedback)
    feedback_batch = _waited(reports.feedback_batch)
    activate = _waited(reports.activate)
    received = _waited(reports.received)
    event = _waited(reports.event)
    events = _waited(reports.events)
    consent = _waited(people_calls.consent)
    consent_of = _waited(people_calls.consent_of)
    unit_token = _waited(people_calls.unit_token)
    erase = _waited(people_calls.erase)
    erasure = _waited(people_calls.erasure)
    person = _waited(people_calls.person)

    def close(self) -> None:
        """Close all connections; calls that other threads wait for are given up."""
        with self._lock:
            self._closed = True
            background = self._background
        if background is not None:
            background.stop()
            background.thread.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _run(self, plan: Plan[T]) -> T:
        if isinstance(plan, Ready):
            return plan.value
        ends_at = time.monotonic() + plan.deadline_s
        background = self._running()
        work = perform(background.http, plan, ends_at)
        future = asyncio.run_coroutine_threadsafe(work, background.loop)
        try:
            return future.result(plan.deadline_s + GRACE_S)
        except NoResult:
            return give_up(plan, f"no answer within {plan.deadline_s:g} s, and the client's own thread does not run")
        except CancelledError:
            raise RuntimeError("the client was closed during the call") from None
        finally:
            future.cancel()

    def _running(self) -> _Background:
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            if self._background is None:
                self._background = _Background(self._http or self._connect())
                weakref.finalize(self, self._background.stop)
            return self._background

    def _forked(self) -> None:
        """Start again in a forked process, which has none of its parent's threads."""
        _parents.append((self._http, self._background))
        self._lock = threading.Lock()
        self._http = self._background = None


class _Background:
    """An event loop in a thread of its own, and the connections that live on it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self._pid = os.getpid()
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        target, name = functools.partial(asyncio.run, self._serve(started)), "loopwise-client"
        self.thread = threading.Thread(target=target, name=name, daemon=True)
        self.thread.start()
        self.loop, self._stopped = started.result()

    async def _serve(self, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        stopped = asyncio.Event()
        async with self.http:
            started.set_result((asyncio.get_running_loop(), stopped))
            await stopped.wait()

    def stop(self) -> None:
        """Close the connections and end the thread, if it runs."""
        if self._pid == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stopped.set)


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_parents: list[object] = []  # kept for ever, because closing a loop in a forked process would disturb the parent's loop


def _after_fork() -> None:
    for client in _clients:
        client._forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
