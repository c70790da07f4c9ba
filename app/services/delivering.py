"""Sends what is due to webhooks: signed, at least once, retried with growing pauses, each attempt noted.

A delivery that is being sent is due again when its lease ends, so that a killed worker's are sent by another: receivers
tell repetitions by the delivery's id. No webhook has more than two calls in flight, so one that never answers takes two
threads and nobody's time.
"""

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import orjson
from sqlalchemy import Engine

from app.services import outgoing
from app.services.deliveries import content
from app.services.webhooks import secret, signature
from app.settings import Settings
from app.store import deliveries as store
from app.store.deliveries import Claimed
from app.store.engine import transaction

EACH = 2  # calls in flight to one webhook
IN_FLIGHT = 64
CLAIM_S = 2.0  # a pass takes new deliveries for so long; the last ones have a call's deadline beyond
LEASE_S = 30.0  # more than a call's deadline, by far
MAX_ATTEMPTS = 9  # over about 12 hours
FIRST_PAUSE_S = 2.0
PAUSE_FACTOR = 4.0
LOOK = 500


class Outcome(NamedTuple):
    """What became of one attempt."""

    status: int | None  # HTTP's; null: there was no answer
    error: str | None
    seconds: float
    final: bool = False  # trying again would not help

    @property
    def arrived(self) -> bool:
        """Did the receiver take it?"""
        return self.status is not None and 200 <= self.status < 300


def deliver_due(engine: Engine, settings: Settings, claim_s: float = CLAIM_S) -> int:
    """Send what is due; returns how many attempts were made."""
    flying: dict[Future[Outcome], Claimed] = {}
    attempts = 0
    end = time.monotonic() + claim_s
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="deliver") as pool:
        while True:
            for one in _claim(engine, flying.values()) if time.monotonic() < end else []:
                flying[pool.submit(_send, settings, one)] = one
            if not flying:
                return attempts
            done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                _record(engine, settings, flying.pop(future), future.result())
            attempts += len(done)


def pause_s(settings: Settings, delivery_id: int, attempts: int) -> float:
    """How long to wait after so many failed attempts, in seconds: four times as long each time, and a quarter more or less,
    so that deliveries that failed together are not tried together. The same for the same delivery in every process."""
    text = f"pause\n{delivery_id}\n{attempts}".encode()
    digest = hmac.new(settings.secret_key.encode(), text, hashlib.sha256).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return FIRST_PAUSE_S * PAUSE_FACTOR ** (attempts - 1) * (0.75 + 0.5 * share)


def _claim(engine: Engine, flying: Iterable[Claimed]) -> list[Claimed]:
    calls = Counter(one.webhook_id for one in flying)
    if calls.total() >= IN_FLIGHT:
        return []
    found: list[Claimed] = []
    for _ in range(EACH):
        busy = [webhook_id for webhook_id, count in calls.items() if count >= EACH]
        with transaction(engine) as connection:
            more = store.claim(connection, busy=busy, each=1, look=LOOK, lease_s=LEASE_S)
        found += more
        calls.update(one.webhook_id for one in more)
        if not more:
            break
    return found


def _send(settings: Settings, one: Claimed) -> Outcome:
    if one.denied:
        return Outcome(None, "consent was revoked", 0.0, final=True)
    if one.url is None or one.secret_version is None:
        return Outcome(None, "the webhook was deleted", 0.0, final=True)
    body = orjson.dumps(content(one))
    key = secret(settings, one.webhook_id, one.secret_version)
    headers = {
        "Content-Type": "application/json",
        "Loopwise-Delivery": str(one.id),
        "Loopwise-Signature": signature(key, body, int(time.time())),
    }
    began = time.monotonic()
    try:
        answer = outgoing.post(one.url, body, headers, allow_loopback=bool(settings.allow_http_loopback))
    except (outgoing.Refused, outgoing.Failed) as error:
        return Outcome(None, str(error), time.monotonic() - began)
    seconds = time.monotonic() - began
    return Outcome(answer.status, _problem(answer), seconds)


def _problem(answer: outgoing.Answer) -> str | None:
    """What the receiver says against it; null when it took it, or says nothing."""
    if 200 <= answer.status < 300:
        return None
    if 300 <= answer.status < 400:
        return "redirects are not followed"
    return answer.text.replace("\0", "")[:500] or None


def _record(engine: Engine, settings: Settings, one: Claimed, outcome: Outcome) -> None:
    with transaction(engine) as connection:
        store.record_attempt(connection, one.id, status=outcome.status, error=outcome.error, seconds=outcome.seconds)
        attempts = one.attempts + 1
        if outcome.arrived:
            store.finish(connection, one.id, "delivered")
        elif outcome.final or attempts >= MAX_ATTEMPTS:
            store.finish(connection, one.id, "failed")
        else:
            store.try_later(connection, one.id, pause_s(settings, one.id, attempts))
