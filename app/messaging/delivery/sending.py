"""Sends what is due to webhooks: signed, at least once, retried with growing pauses, each attempt noted.

A delivery that is being sent is due again when its lease ends, so that a killed worker's are sent by another: receivers
tell repetitions by the delivery's id.

A receiver that does not answer delays nobody else. Sending has a thread of its own, and goes on for the others while a
call waits. From its first unanswered call on a webhook is silent: none of its deliveries is sent until its pause is over,
then one call at a time finds out; and silent webhooks together have only a part of the calls that may be in flight.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import orjson
import structlog
from sqlalchemy import Engine

from app.foundation import outgoing
from app.foundation.errors import Unavailable
from app.foundation.secrets import Purpose, derive
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.foundation.store.locks import alone
from app.messaging.delivery.log import content
from app.messaging.delivery.webhooks import secret, signature
from app.messaging.store import deliveries as store
from app.messaging.store import webhooks
from app.messaging.store.deliveries import Claimed

EACH = 2  # calls in flight to one webhook
IN_FLIGHT = 64
PROBES = 32  # of these, to silent webhooks
PASS_S = 300.0  # then a process lets another have its turn
LEASE_S = 30.0  # more than a call's deadline, by far
MAX_ATTEMPTS = 9  # over about 12 hours
FIRST_PAUSE_S = 2.0
PAUSE_FACTOR = 4.0
LONGEST_SILENCE_S = 300.0  # between two calls to a silent webhook
GIVE_UP_S = 43_200.0  # of silence; then what has been due for so long fails

log = structlog.get_logger()


class Outcome(NamedTuple):
    """What became of one attempt."""

    status: int | None  # HTTP's; null: there was no answer
    error: str | None
    seconds: float
    final: bool = False  # trying again would not help
    silence: bool = False  # nobody answered

    @property
    def arrived(self) -> bool:
        """Did the receiver take it?"""
        return self.status is not None and 200 <= self.status < 300


class Courier:
    """A thread of this process that sends when it is woken, so that a call that waits keeps no worker from other work."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """:param engine: of its own: the courier keeps a connection while it sends."""
        self._engine = engine
        self._settings = settings
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Does the thread live?"""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Send what is due, unless it is under way already, here or in another process."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no more calls, and wait for those that are under way."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(outgoing.DEADLINE_S + 1)

    def _run(self) -> None:
        while self._woken.wait() and not self._stopping.is_set():
            self._woken.clear()
            try:
                with alone(self._engine, "deliver") as mine:
                    if mine:
                        deliver_due(self._engine, self._settings, self._stopping)
            except Unavailable:
                log.warning("deliveries_wait_for_the_database")
            except Exception:  # a thread that died here would send nothing any more
                log.exception("deliveries_failed")


def deliver_due(engine: Engine, settings: Settings, stopping: threading.Event | None = None) -> int:
    """Send until nothing is due; returns how many attempts were made. One process at a time.

    :param stopping: once it is set, no more calls begin.
    """
    flying: dict[Future[Outcome], Claimed] = {}
    attempts = 0
    end = time.monotonic() + PASS_S
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="deliver") as pool:
        while True:
            left_s = 0.0 if stopping and stopping.is_set() else end - time.monotonic()
            for one in _claim(engine, flying.values(), left_s):
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
    digest = derive(settings.secret_key, Purpose.RETRY_PAUSE, f"{delivery_id}\n{attempts}".encode())
    share = int.from_bytes(digest[:8], "big") / 2**64
    return FIRST_PAUSE_S * PAUSE_FACTOR ** (attempts - 1) * (0.75 + 0.5 * share)


def _claim(engine: Engine, flying: Collection[Claimed], left_s: float) -> list[Claimed]:
    """What is sent now. No call to a silent webhook begins that could last longer than the pass."""
    found: list[Claimed] = []
    probing = sum(one.silent for one in flying)
    if left_s > outgoing.DEADLINE_S and probing < PROBES:
        found += _claim_each(engine, flying, silent=True, room=min(PROBES - probing, IN_FLIGHT - len(flying)))
    for _ in range(EACH if left_s > 0 else 0):
        found += _claim_each(engine, [*flying, *found], silent=False, room=IN_FLIGHT - len(flying) - len(found))
    return found


def _claim_each(engine: Engine, flying: Collection[Claimed], *, silent: bool, room: int) -> list[Claimed]:
    """One more for each webhook that may have one."""
    if room <= 0:
        return []
    calls = Counter(one.webhook_id for one in flying)
    busy = [webhook_id for webhook_id, count in calls.items() if count >= (1 if silent else EACH)]
    with transaction(engine) as connection:
        return store.claim(connection, silent=silent, busy=busy, room=room, lease_s=LEASE_S)


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
        silence = isinstance(error, outgoing.Failed)
        return Outcome(None, str(error), time.monotonic() - began, silence=silence)
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
        if outcome.silence:
            webhooks.fell_silent(connection, one.webhook_id, one.url, longest_s=LONGEST_SILENCE_S)
            store.give_up(connection, one.webhook_id, GIVE_UP_S)
        elif outcome.status is not None:
            webhooks.answered(connection, one.webhook_id)
        noted = store.record_attempt(
            connection, one.id, status=outcome.status, error=outcome.error, seconds=outcome.seconds
        )
        if not noted:  # it was erased meanwhile
            return
        attempts = one.attempts + 1
        if outcome.arrived:
            store.finish(connection, one.id, "delivered")
        elif outcome.final or attempts >= MAX_ATTEMPTS:
            store.finish(connection, one.id, "failed")
        else:
            store.try_later(connection, one.id, pause_s(settings, one.id, attempts))
