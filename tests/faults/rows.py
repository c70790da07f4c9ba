"""The fault table: what is done to a running installation, each in a few lines. docs/operations.md lists them.

A row's function does the fault and returns when it is over; then recovery is timed. Clocks are not stepped: that would need a
machine of its own.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import psycopg2

from tests.commands.installation import children_of
from tests.faults.stage import Stage
from tests.service import wait_for

SHORT_S: Final = 3.0  # a fault that passes by itself
RIGHT_S: Final = 5.0  # the recovery that is right
AFTER_LONG_S: Final = 15.0  # after the installation's own power cut, or a start of everything


class Row(NamedTuple):
    """One fault."""

    name: str
    what: str
    inflict: Callable[[Stage], None]
    right_s: float = RIGHT_S


def _kill(role: str, stage: Stage) -> None:
    os.kill(stage.pid(role), signal.SIGKILL)


def _kill_child(role: str, stage: Stage) -> None:
    os.kill(stage.child(role), signal.SIGKILL)


def _freeze(role: str, stage: Stage) -> None:
    with stage.frozen(stage.pid(role)):
        time.sleep(SHORT_S)


def _freeze_child(role: str, stage: Stage) -> None:
    with stage.frozen(stage.child(role)):
        time.sleep(SHORT_S)


def _freeze_for_good(role: str, stage: Stage) -> None:
    before = stage.pid(role)
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: stage.up.children().get(role, before) != before, 60, f"another {role}")


def _lock(table: str, stage: Stage) -> None:
    with stage.locked(table):
        time.sleep(SHORT_S)


def _stop_postgres(stage: Stage) -> None:
    os.kill(stage.pid("postgres"), signal.SIGINT)


def _end_sessions(stage: Stage) -> None:
    stage.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
    )


def _exhaust_connections(stage: Stage) -> None:
    taken = []
    with contextlib.suppress(psycopg2.OperationalError):
        while True:
            taken.append(psycopg2.connect(stage.url))
    os.kill(stage.child("web"), signal.SIGKILL)  # the next one finds no connection
    time.sleep(SHORT_S)
    for connection in taken:
        connection.close()


def _replace_web(stage: Stage) -> None:
    before = children_of(stage.pid("web"))
    os.kill(stage.pid("web"), signal.SIGHUP)
    wait_for(
        lambda: len(now := children_of(stage.pid("web"))) == len(before) and not now & before, 60, "other processes"
    )


def _slow_bodies(stage: Stage) -> None:
    head = f"POST /v1/decide HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.client.key}\r\nContent-Length: 900\r\n\r\n"
    _connected(stage, 300, head.encode() + b'{"experiment": ')


def _idle_connections(stage: Stage) -> None:
    _connected(stage, 3000, b"")


def _connected(stage: Stage, count: int, said: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", stage.port), 20))
            if said:
                connection.sendall(said)
        time.sleep(SHORT_S)


def _many_calls(stage: Stage) -> None:
    body = b'{"experiment":"%b","unit_id":"crowd"}' % stage.key.encode()
    head = f"POST /v1/decide HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.client.key}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(socket.create_connection(("127.0.0.1", stage.port), 20)) for _ in range(1500)]
        for call in calls:
            call.sendall(request)
        for call in calls:
            call.recv(100)


def _spoil_model(stage: Stage) -> None:
    """The stored bytes of every model that serves are damaged, and every web process has to load them."""
    serving = "UPDATE model_versions SET model = %s || model WHERE id IN (SELECT serving_version_id FROM lineages)"
    stage.query(serving, b"spoilt")
    try:
        _replace_web(stage)
        wait_for(stage.answers, 60, "decisions without the model")
        time.sleep(1.0)
    finally:
        restored = "UPDATE model_versions SET model = substr(model, 7) WHERE substr(model, 1, 6) = %s"
        stage.query(restored, b"spoilt")
        stage.query("UPDATE lineages SET problem = NULL")
        _replace_web(stage)


def _backlog(stage: Stage) -> None:
    """Nobody learns while 5,000 decisions come."""
    with stage.frozen(stage.pid("worker")):
        for first in range(0, 5000, 500):
            asked = [{"experiment": stage.key, "unit_id": f"heap-{first + n}"} for n in range(500)]
            stage.client.post("/v1/decide/batch", {"decisions": asked})


def _kill_during_rebuild(stage: Stage) -> None:
    _learned_something(stage)
    with stage.locked("training_ledger"):  # the rebuild waits for it
        answer = stage.client.post(f"/v1/experiments/{stage.key}/policy/rebuild", {"arm": "all"})
        assert answer.status == 202, answer.raw
        time.sleep(1.5)
        _kill("worker", stage)
    asked = "SELECT count(*) FROM lineages WHERE experiment_id = %s AND rebuild_asked_at IS NOT NULL"
    wait_for(lambda: stage.query(asked, stage.experiment_id()) == [(0,)], 90, "the rebuild")


def _kill_during_erasure(stage: Stage) -> None:
    _learned_something(stage)
    assert stage.client.decide(stage.key, "leaver").status == 201
    with stage.locked("outcomes"):
        assert stage.client.post("/v1/erasure", {"unit_id": "leaver"}).status == 202
        time.sleep(1.5)
        _kill("worker", stage)
    waiting = "SELECT count(*) FROM erasures WHERE status = 'waiting'"
    wait_for(lambda: stage.query(waiting) == [(0,)], 90, "the erasure")


def _learned_something(stage: Stage) -> None:
    learned = "SELECT count(*) > 0 FROM training_ledger WHERE experiment_id = %s"
    wait_for(lambda: stage.query(learned, stage.experiment_id()) == [(True,)], 60, "a first round")


def _kill_up(stage: Stage) -> None:
    assert stage.up.process is not None
    family = stage.up.family()
    stage.up.end(signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in family), 30, "the end of its processes")
    stage.start()


def _restart_up(stage: Stage) -> None:
    stage.up.end(signal.SIGTERM)
    stage.start()


def _everything_at_once(stage: Stage) -> None:
    for role in ("redis", "worker", "beat", "postgres", "web"):
        _kill(role, stage)


ROWS: Final = (
    Row("kill web process", "kill -9 of one of the two web processes", partial(_kill_child, "web")),
    Row("kill web", "kill -9 of the web server", partial(_kill, "web")),
    Row("kill worker", "kill -9 of the worker", partial(_kill, "worker")),
    Row("kill worker process", "kill -9 of a process of the worker", partial(_kill_child, "worker")),
    Row("kill beat", "kill -9 of the clock", partial(_kill, "beat")),
    Row("kill redis", "kill -9 of Redis", partial(_kill, "redis")),
    Row("kill postgres", "kill -9 of PostgreSQL", partial(_kill, "postgres")),
    Row(
        "kill backend",
        "kill -9 of a process of PostgreSQL, which then starts all again",
        partial(_kill_child, "postgres"),
    ),
    Row("kill all", "kill -9 of every role at once", _everything_at_once, AFTER_LONG_S),
    Row("freeze web process", "SIGSTOP of a web process for 3 s", partial(_freeze_child, "web")),
    Row("freeze web", "SIGSTOP of the web server and its processes for 3 s", partial(_freeze, "web")),
    Row("freeze worker", "SIGSTOP of the worker for 3 s", partial(_freeze, "worker")),
    Row("freeze beat", "SIGSTOP of the clock for 3 s", partial(_freeze, "beat")),
    Row("freeze redis", "SIGSTOP of Redis for 3 s", partial(_freeze, "redis")),
    Row("freeze postgres", "SIGSTOP of PostgreSQL for 3 s", partial(_freeze, "postgres")),
    Row(
        "web never thaws",
        "SIGSTOP of the web server until `up` ends it",
        partial(_freeze_for_good, "web"),
        AFTER_LONG_S,
    ),
    Row("postgres never thaws", "SIGSTOP of PostgreSQL until `up` ends it", partial(_freeze_for_good, "postgres")),
    Row("restart postgres", "PostgreSQL is told to stop (SIGINT)", _stop_postgres),
    Row("end sessions", "every session of PostgreSQL is ended", _end_sessions),
    Row(
        "no connections",
        "others hold all connections of PostgreSQL while a web process is killed",
        _exhaust_connections,
    ),
    Row("lock decisions", "another session holds the log of decisions for 3 s", partial(_lock, "decisions")),
    Row("lock rewards", "another session holds the rewards for 3 s", partial(_lock, "rewards")),
    Row("lock ledger", "another session holds the training ledger for 3 s", partial(_lock, "training_ledger")),
    Row("lock experiments", "another session holds the experiments for 3 s", partial(_lock, "experiments")),
    Row("rolling restart", "SIGHUP of the web server: its processes are replaced", _replace_web),
    Row("slow bodies", "300 clients send half a body and wait", _slow_bodies),
    Row("idle connections", "3,000 connections that say nothing", _idle_connections),
    Row("many calls", "1,500 calls at once", _many_calls),
    Row("spoilt model", "the stored bytes of the models are damaged, and web processes restart", _spoil_model),
    Row("backlog", "5,000 decisions while the worker is frozen", _backlog),
    Row("kill in rebuild", "kill -9 of the worker in the middle of a rebuild", _kill_during_rebuild),
    Row("kill in erasure", "kill -9 of the worker in the middle of an erasure", _kill_during_erasure),
    Row("kill up", "kill -9 of `up`, started again by hand", _kill_up, AFTER_LONG_S),
    Row("restart up", "`up` is stopped and started again", _restart_up, AFTER_LONG_S),
)
