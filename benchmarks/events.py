"""Behaviour events per second that one web process stores durably, a check for lost events, and the rate of matching."""

import time

from sqlalchemy import text

from app.messaging.triggers import lifecycle as triggers
from app.messaging.triggers import matching
from benchmarks import figures
from benchmarks.load import closed_loop
from benchmarks.rig import Rig

CONNECTIONS = 32
SINGLE = 4000  # events of one call each, in a round
PER_CALL = 1000
CALLS = 10
UNITS = 5000
AIM = 1000  # events a second, one call each
MESSAGE = {"texts": {"en": {"body": "Go on."}}}
PATTERNS = {
    "event": {"type": "event", "event": "lesson-done"},
    "count": {"type": "count", "event": "lesson-done", "count": 5, "window_s": 3600},
    "absence": {"type": "absence", "event": "lesson-done", "for_s": 86_400},
    "milestone": {"type": "milestone", "event": "lesson-done", "property": "lessons", "at_least": 40},
}


def measure(rig: Rig, rounds: int) -> None:
    """Print both rates, the counts of sent and stored events, and the rate of matching with four triggers."""
    made = 0
    single: list[tuple[float, float]] = []
    batched: list[tuple[float, float]] = []
    p99 = []
    for _ in range(rounds):
        constant = closed_loop(rig.port, [rig.request("/healthz")], connections=CONNECTIONS, count=SINGLE).rate
        requests = [rig.request("/v1/events", _event(made + n)) for n in range(SINGLE)]
        load = closed_loop(rig.port, requests, connections=CONNECTIONS, count=SINGLE)
        made += SINGLE
        single.append((load.rate, constant))
        p99.append(load.percentile_ms(0.99))
        calls = [
            rig.request("/v1/events", {"events": [_event(made + PER_CALL * call + n) for n in range(PER_CALL)]})
            for call in range(CALLS)
        ]
        load = closed_loop(rig.port, calls, connections=1, count=CALLS)
        made += PER_CALL * CALLS
        batched.append((PER_CALL * load.rate, constant))
    figures.title(f"6. events: taken in durably by one process; aim {AIM:,}/s, one call each")
    figures.ratio(f"POST /v1/events, {CONNECTIONS} connections, one event a call", single, "/s", "GET /healthz")
    figures.line("latency, p99", f"{figures.median(p99):.1f} ms")
    figures.ratio(f"POST /v1/events, {PER_CALL:,} a call, one call at a time", batched, "/s", "GET /healthz")
    figures.line("events acknowledged, and stored", f"{made:,}", f"{_count(rig, 'events'):,}")
    figures.line("waiting for triggers", f"{_count(rig, 'awaiting_match'):,}")
    _match(rig)


def _event(number: int) -> dict[str, object]:
    properties = {"lesson": f"lesson-{number % 50}", "lessons": number // UNITS, "score": (number % 101) / 100}
    who = {"unit_id": f"user-{number % UNITS}", "event_id": f"event-{number}"}
    return who | {"name": "lesson-done", "properties": properties}


def _count(rig: Rig, table: str) -> int:
    with rig.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _match(rig: Rig) -> None:
    """Match all waiting events with one trigger of each kind, in this process."""
    actions = [{"id": "go", "template": MESSAGE}]
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}]
    rig.call("/v1/experiments", {"key": "tips", "actions": actions, "arms": arms})
    for key, pattern in PATTERNS.items():
        document = {"key": key, "experiment": "tips", "pattern": pattern, "delivery": {"to": "unit"}}
        triggers.create(rig.engine, document, "bench")
        triggers.move(rig.engine, key, "start", "bench")
    began, looked, fired = time.perf_counter(), 0, 0
    while (done := matching.match_some(rig.engine)).events:
        looked, fired = looked + done.events, fired + done.firings
    seconds = time.perf_counter() - began
    figures.line("events looked at by four triggers, in one worker", f"{looked / seconds:,.0f}/s", f"{fired:,} firings")
