"""Sends hostile requests to a running web server from several threads, and notes what must not be: a 5xx, or a long wait.

A 503 that says when to come again is counted and is no fault: another call or a training round held what this one needs.
"""

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from app.web.app import create_app
from tests.hostile.requests import Asked, Hostile
from tests.page_client import Browser
from tests.service import Client, bandit, descendants, settings

WAIT_S: Final = 5.0
AGAIN: Final = 400  # requests of a thread after which what they spoiled is made again
NOT_ASKED: Final = ("/admin/sign-out",)  # it would end the session that all the others need


@dataclass
class Told:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # requests with a 5xx, without an answer, or with a late one
    memory_mb: list[float] = field(default_factory=list)  # of the web processes, from time to time


def pages() -> list[tuple[str, str]]:
    """(method, rule) of every page of the admin UI."""
    app = create_app(settings=settings(""), runtime=SimpleNamespace(engine=None, stopping=None))  # type: ignore[arg-type]
    return [
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) & {"GET", "POST"})
        if rule.endpoint.startswith("admin.") and rule.rule not in NOT_ASKED
    ]


def attack(
    client: Client, browser: Browser, count: int, seed: int, *, threads: int = 4, pid: int | None = None
) -> Told:
    """Send so many requests, half of them to pages.

    :param pid: of the web server, whose memory is noted.
    """
    document = client.get("/openapi.json").body
    all_pages, token, told, lock = pages(), browser.token("/admin/account"), Told(), threading.Lock()

    def send(number: int) -> None:
        hostile = Hostile(document, all_pages, seed * 1000 + number)
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=4 * WAIT_S)
        for done in range(count // threads):
            if done % AGAIN == 0:
                _prepare(client, lock)
                told.memory_mb.extend([_memory_mb(pid)] if pid and number == 0 else [])
            asked = hostile.call(client.key) if hostile.random.random() < 0.5 else hostile.page(browser.cookies, token)
            status, problem = _one(connection, asked)
            with lock:
                told.statuses[status] += 1
                told.wrong.extend([problem] if problem else [])

    workers = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return told


def _prepare(client: Client, lock: threading.Lock) -> None:
    """An experiment called "known", which decides and has learned nothing, and a decision called "first"."""
    with lock:
        if client.get("/v1/experiments/known").status == 404:
            client.make("known", arms=bandit())
        client.post("/v1/experiments/known/start", {})
        client.decide("known", "ann", decision_id="first")


def _one(connection: http.client.HTTPConnection, asked: Asked) -> tuple[int, str]:
    began, kept = time.monotonic(), connection.sock is not None
    try:
        connection.request(asked.method, asked.target, asked.body, asked.headers)
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        if kept and isinstance(error, ConnectionError):  # a server may end a connection after any answer
            return _one(connection, asked)
        return 0, f"{type(error).__name__} {error}: {asked.told}"
    took = time.monotonic() - began
    busy = answer.status == 503 and answer.headers["Retry-After"] is not None
    if (answer.status >= 500 and not busy) or took > WAIT_S:
        return answer.status, f"{answer.status} after {took:.1f} s: {asked.told} -> {raw[:300]!r}"
    return answer.status, ""


def _memory_mb(pid: int) -> float:
    def resident(one: int) -> float:
        status = Path(f"/proc/{one}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    return sum(resident(one) for one in [pid, *descendants(pid)])


def told(found: Told) -> str:
    """In words."""
    got = ", ".join(f"{count:,} x {status}" for status, count in sorted(found.statuses.items()))
    lines = [f"{sum(found.statuses.values()):,} requests: {got}"]
    if found.memory_mb:
        quarter = max(len(found.memory_mb) // 4, 1)
        first, last = max(found.memory_mb[:quarter]), max(found.memory_mb[-quarter:])
        lines.append(f"memory of the web server: {first:.0f} MB in the first quarter, {last:.0f} MB in the last")
    return "\n".join([*lines, *found.wrong[:20], f"{len(found.wrong)} answers are wrong"])
