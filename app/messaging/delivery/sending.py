"""Sends due deliveries to webhooks: signed, at least once, retried with growing pauses. It logs each attempt.

A delivery that is being sent is due again when its lease ends, so another worker sends the deliveries of a killed one.
Receivers recognise repetitions by the delivery's id.

A receiver that does not answer delays no other receiver. Sending has a thread of its own and goes on for the others while
a call waits. A webhook is silent from its first unanswered call on. None of its deliveries is sent until its pause is
over; then one call at a time tests it. All silent webhooks together may use only `PROBES` of the calls in flight.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import orjson
import structlog
from sqlalchemy import Engine

from app.foundation import outgoing
from app.foundation.errors import Unavailable
from app.foundation.running.threads import Background
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
PROBES = 32  # of the calls in flight, to silent webhooks
PASS_S = 300.0  # after a pass, another process may take over
IDLE_S = 1.0  # a turn of the thread without work
STUCK_S = 300.0  # beyond a pass: a statement of a worker may take so long
LEASE_S = 30.0  # much more than the deadline of a call
MAX_ATTEMPTS = 9  # over about 12 hours
FIRST_PAUSE_S = 2.0
PAUSE_FACTOR = 4.0
LONGEST_SILENCE_S = 300.0  # between two calls to a silent webhook
GIVE_UP_S = 43_200.0  # after so long a silence, deliveries that have been due for as long fail

Work = Callable[[Engine, Settings, threading.Event | None], int]
log = structlog.get_logger()


class Outcome(NamedTuple):
    """The result of an attempt."""

    status: int | None  # the HTTP status; null: there was no answer
    error: str | None
    seconds: float
    final: bool = False  # trying again would not help
    silence: bool = False  # the receiver did not answer

    @property
    def arrived(self) -> bool:
        """True when the receiver accepted the delivery."""
        return self.status is not None and 200 <= self.status < 300


class Courier:
    """A thread that sends when it is woken. A call that waits blocks no other work of the worker."""

    def __init__(self, engine: Engine, settings: Settings, work: Work, name: str) -> None:
        """Start the thread.

        :param engine: used by nothing else, because the courier keeps a connection while it sends.
        :param work: sends until nothing is due; one process at a time calls it.
        :param name: of that work.
        """
        self._engine = engine
        self._settings = settings
        self._work, self._name = work, name
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = Background(f"courier of {name}", self._turn, PASS_S + STUCK_S)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while the thread is alive."""
        return self._thread.alive

    def wake(self) -> None:
        """Send due deliveries, unless a process is already sending."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no more calls, and wait for the calls in flight."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(outgoing.DEADLINE_S + 1)

    def _turn(self) -> bool:
        woken = self._woken.wait(IDLE_S)
        if self._stopping.is_set():
            return False
        if woken:
            self._woken.clear()
            try:
                with alone(self._engine, self._name) as locked:
                    if locked:
                        self._work(self._engine, self._settings, self._stopping)
            except Unavailable:
                log.warning("messages_wait_for_the_database", courier=self._name)
        return True


def deliver_due(engine: Engine, settings: Settings, stopping: threading.Event | None = None) -> int:
    """Send until nothing is due; return the number of attempts. Only one process may send at a time.

    :param stopping: once it is set, no more calls begin.
    """
    flying: dict[Future[Outcome], Claimed] = {}
    attempts = 0
    end = time.monotonic() + PASS_S
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="deliver") as pool:
        while True:
            left_s = 0.0 if stopping and stopping.is_set() else end - time.monotonic()
            for delivery in _claim(engine, flying.values(), left_s):
                flying[pool.submit(_send, settings, delivery)] = delivery
            if not flying:
                return attempts
            done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                _record(engine, settings, flying.pop(future), future.result())
            attempts += len(done)


def pause_s(settings: Settings, delivery_id: int, attempts: int) -> float:
    """Seconds to wait after ``attempts`` failed attempts: four times as long each time, plus or minus up to a quarter.

    The variation separates deliveries that failed together. It is the same for a delivery in every process.
    """
    digest = derive(settings.secret_key, Purpose.RETRY_PAUSE, f"{delivery_id}\n{attempts}".encode())
    share = int.from_bytes(digest[:8], "big") / 2**64
    return FIRST_PAUSE_S * PAUSE_FACTOR ** (attempts - 1) * (0.75 + 0.5 * share)


def _claim(engine: Engine, flying: Collection[Claimed], left_s: float) -> list[Claimed]:
    """Take the deliveries to send now. A call to a silent webhook begins only if it must end before the pass does."""
    claimed: list[Claimed] = []
    probing = sum(delivery.silent for delivery in flying)
    if left_s > outgoing.DEADLINE_S and probing < PROBES:
        claimed += _claim_each(engine, flying, silent=True, room=min(PROBES - probing, IN_FLIGHT - len(flying)))
    for _ in range(EACH if left_s > 0 else 0):
        claimed += _claim_each(engine, [*flying, *claimed], silent=False, room=IN_FLIGHT - len(flying) - len(claimed))
    return claimed


def _claim_each(engine: Engine, flying: Collection[Claimed], *, silent: bool, room: int) -> list[Claimed]:
    """Take a further delivery of each webhook that may have another call in flight."""
    if room <= 0:
        return []
    calls = Counter(delivery.webhook_id for delivery in flying)
    busy = [webhook_id for webhook_id, count in calls.items() if count >= (1 if silent else EACH)]
    with transaction(engine) as connection:
        return store.claim(connection, silent=silent, busy=busy, room=room, lease_s=LEASE_S)


def _send(settings: Settings, delivery: Claimed) -> Outcome:
    if delivery.denied:
        return Outcome(None, "consent was revoked", 0.0, final=True)
    if delivery.url is None or delivery.secret_version is None:
        return Outcome(None, "the webhook was deleted", 0.0, final=True)
    body = orjson.dumps(content(delivery))
    key = secret(settings, delivery.webhook_id, delivery.secret_version)
    headers = {
        "Content-Type": "application/json",
        "Loopwise-Delivery": str(delivery.id),
        "Loopwise-Signature": signature(key, body, int(time.time())),
    }
    began = time.monotonic()
    try:
        answer = outgoing.post(delivery.url, body, headers, allow_loopback=bool(settings.allow_http_loopback))
    except (outgoing.Refused, outgoing.Failed) as error:
        silence = isinstance(error, outgoing.Failed)
        return Outcome(None, str(error), time.monotonic() - began, silence=silence)
    seconds = time.monotonic() - began
    return Outcome(answer.status, _problem(answer), seconds)


def _problem(answer: outgoing.Answer) -> str | None:
    """The receiver's error text; null when it accepted the delivery or gave no text."""
    if 200 <= answer.status < 300:
        return None
    if 300 <= answer.status < 400:
        return "redirects are not followed"
    return answer.text.replace("\0", "")[:500] or None


def _record(engine: Engine, settings: Settings, delivery: Claimed, outcome: Outcome) -> None:
    with transaction(engine) as connection:
        if outcome.silence:
            webhooks.fell_silent(connection, delivery.webhook_id, delivery.url, longest_s=LONGEST_SILENCE_S)
            store.give_up(connection, delivery.webhook_id, GIVE_UP_S)
        elif outcome.status is not None:
            webhooks.answered(connection, delivery.webhook_id)
        recorded = store.record_attempt(
            connection, delivery.id, status=outcome.status, error=outcome.error, seconds=outcome.seconds
        )
        if not recorded:  # the delivery was erased during the call
            return
        attempts = delivery.attempts + 1
        if outcome.arrived:
            store.finish(connection, delivery.id, "delivered")
        elif outcome.final or attempts >= MAX_ATTEMPTS:
            store.finish(connection, delivery.id, "failed")
        else:
            store.try_later(connection, delivery.id, pause_s(settings, delivery.id, attempts))
