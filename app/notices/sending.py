"""Sends due messages, one at a time to each receiver, so that they arrive in order.

A message that a killed process was sending is sent again at once, because the lock of the sender ends with its process. The
receiver sees the same id: a webhook in the header Loopwise-Delivery, a mail server in the Message-ID.
"""

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import orjson
from sqlalchemy import Engine

from app.foundation import outgoing, outgoing_mail
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.messaging.delivery.sending import LONGEST_SILENCE_S, MAX_ATTEMPTS, PASS_S, pause_s
from app.messaging.delivery.webhooks import secret, signature
from app.messaging.store import webhooks
from app.notices import letters
from app.notices.store import messages as store
from app.notices.store.messages import Due

IN_FLIGHT = 16
MOST_REFUSALS = 3  # a receiver that answered no so often will not take it
LASTING = (400, 500)  # from and below which an HTTP status will be the same next time
PASSING = (408, 425, 429)  # but for these
MOST_ERROR = 500


class Outcome(NamedTuple):
    """The result of an attempt."""

    error: str | None  # null: it arrived
    refused: bool = False  # the receiver answered, and said no
    final: bool = False  # no further attempt
    answered: bool | None = None  # whether the webhook did; null: it was not called


def send_due(engine: Engine, settings: Settings, stopping: threading.Event | None = None) -> int:
    """Send until nothing is due; returns the number of attempts. Only one process may send at a time.

    :param stopping: once it is set, no more calls begin.
    """
    flying: dict[Future[Outcome], Due] = {}
    attempts, end = 0, time.monotonic() + PASS_S
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="notify") as pool:
        while True:
            if not (stopping and stopping.is_set()) and time.monotonic() < end:
                with transaction(engine) as connection:
                    busy = [due.receiver_id for due in flying.values()]
                    ready = store.due(connection, busy=busy, room=IN_FLIGHT - len(flying))
                flying |= {pool.submit(_send, settings, due): due for due in ready}
            if not flying:
                return attempts
            done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                _record(engine, settings, flying.pop(future), future.result())
            attempts += len(done)


def _send(settings: Settings, due: Due) -> Outcome:
    return _mail(settings, due) if due.email is not None else _call(settings, due)


def _mail(settings: Settings, due: Due) -> Outcome:
    if not settings.smtp_url:
        return Outcome("LOOPWISE_SMTP_URL is empty")
    try:
        outgoing_mail.send(settings.smtp_url, letters.mail(settings, due))
    except outgoing.Refused as error:
        return Outcome(str(error), refused=True)
    except outgoing.Failed as error:
        return Outcome(str(error))
    return Outcome(None)


def _call(settings: Settings, due: Due) -> Outcome:
    if due.webhook_id is None or due.url is None or due.secret_version is None:
        return Outcome("the webhook was deleted", final=True)
    body = orjson.dumps(letters.body(settings, due))
    key = secret(settings, due.webhook_id, due.secret_version)
    headers = {
        "Content-Type": "application/json",
        "Loopwise-Delivery": f"notice-{due.id}",
        "Loopwise-Signature": signature(key, body, int(time.time())),
    }
    try:
        answer = outgoing.post(due.url, body, headers, allow_loopback=bool(settings.allow_http_loopback))
    except outgoing.Refused as error:
        return Outcome(str(error))
    except outgoing.Failed as error:
        return Outcome(str(error), answered=False)
    if 200 <= answer.status < 300:
        return Outcome(None, answered=True)
    refused = LASTING[0] <= answer.status < LASTING[1] and answer.status not in PASSING
    return Outcome(f"HTTP {answer.status} {answer.text}", refused=refused, answered=True)


def _record(engine: Engine, settings: Settings, due: Due, outcome: Outcome) -> None:
    attempts = due.attempts + 1
    words = None if outcome.error is None else outcome.error.replace("\0", "")[:MOST_ERROR]
    most = MOST_REFUSALS if outcome.refused or due.state == "test" else MAX_ATTEMPTS
    with transaction(engine) as connection:
        if due.webhook_id is not None and outcome.answered is False:
            webhooks.fell_silent(connection, due.webhook_id, due.url, longest_s=LONGEST_SILENCE_S)
        elif due.webhook_id is not None and outcome.answered:
            webhooks.answered(connection, due.webhook_id)
        if outcome.error is None:
            store.finish(connection, due.id, "delivered", None)
        elif outcome.final or attempts >= most:
            store.finish(connection, due.id, "failed", words)
        else:
            store.try_later(connection, due.id, pause_s(settings, due.id, attempts), words)
