"""The only part that does I/O: one pool of connections, and the attempts of a call until its deadline."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import re
import ssl
import time
from datetime import datetime, timezone
from typing import TypeVar

import httpx

from loopwise_client.errors import LoopwiseUnavailable
from loopwise_client.plan import Call, Ready, read
from loopwise_client.retry import Failed, pause_s

T = TypeVar("T")
log = logging.getLogger("loopwise_client")


def connections(url: str, key: str, max_connections: int, verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
    """A pool of connections to one server. Its key is in its headers only, which httpx does not show.

    :raises ValueError: the text is not an address, or not a key.
    """
    address = httpx.URL(url)
    if address.scheme not in ("http", "https") or not address.host or address.userinfo or address.query:
        raise ValueError("give the server's address, such as https://loopwise.example.org, and the key apart from it")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("an API key is made of visible ASCII characters; this one is empty or has others")
    return httpx.AsyncClient(
        base_url=address,
        headers={
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "loopwise-client-python",
        },
        timeout=None,  # noqa: S113 - the deadline bounds everything together
        limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
        verify=verify,
    )


async def perform(http: httpx.AsyncClient, call: Call[T], ends_at: float) -> T:
    """Attempt until there is an answer or the time is over, then return the result of the call.

    :param ends_at: the deadline, by ``time.monotonic``.
    :raises LoopwiseUnavailable: no answer, and the call has no default.
    :raises Refused: the server says no.
    """
    met: list[str] = []
    try:
        return await asyncio.wait_for(_answer(http, call, ends_at, met), ends_at - time.monotonic())
    except asyncio.TimeoutError:  # an error of its own until Python 3.11
        met.append(f"no answer within {call.deadline_s:g} s" + (f"; before that: {met[-1]}" if met else ""))
    return give_up(call, met[-1])


async def _answer(http: httpx.AsyncClient, call: Call[T], ends_at: float, met: list[str]) -> T:
    """Attempt until there is an answer, or no time for another attempt; ``met`` gets what every failed attempt met."""
    for attempt in itertools.count():
        outcome = await _attempt(http, call)
        if isinstance(outcome, Ready):
            return outcome.value
        met.append(outcome.reason)
        pause = pause_s(outcome, attempt, ends_at - time.monotonic(), random.random())  # noqa: S311 - spreads retries
        if pause is None:
            return give_up(call, outcome.reason, outcome.retry_after_s)
        await asyncio.sleep(pause)
    raise AssertionError("a count has no end")


def give_up(call: Call[T], reason: str, retry_after_s: float = 0.0) -> T:
    """Return the result of the call without an answer.

    :raises LoopwiseUnavailable: the call has no default.
    """
    value = call.instead(LoopwiseUnavailable(reason, retry_after_s))
    log.warning("%s: the default is used: %s", call.path, reason)
    return value


async def _attempt(http: httpx.AsyncClient, call: Call[T]) -> Ready[T] | Failed:
    try:
        response = await http.request(call.method, call.path, content=call.body)
    except httpx.TransportError as error:
        return Failed(f"{type(error).__name__}: {error}", again=True)
    except httpx.DecodingError as error:
        return Failed(f"{type(error).__name__}: {error}", again=False)
    return read(
        call, response.status_code, response.headers.get("Retry-After"), response.content, datetime.now(timezone.utc)
    )
