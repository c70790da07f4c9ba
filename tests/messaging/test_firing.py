"""Events become messages in real workers: each firing exactly once, even with killed or concurrent workers."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from tests.receiver import receiving
from tests.service import Client, Worker, query, running_worker, wait_for

MESSAGE = {"texts": {"en": {"body": "Hello"}}}
PATIENCE_S = 90.0


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make("tips", actions=[{"id": "hello", "template": MESSAGE}])


def _trigger(client: Client, key: str, **fields: Any) -> None:
    document = {
        "key": key,
        "experiment": "tips",
        "pattern": {"type": "event", "event": key},
        "delivery": {"to": "unit"},
    }
    answer = client.post("/v1/triggers", document | fields)
    assert answer.status == 201, answer.raw
    assert client.post(f"/v1/triggers/{key}/start").status == 200


def _report(client: Client, name: str, count: int, first: int = 0) -> None:
    events = [
        {"unit_id": f"{name}-{n % 50}", "name": name, "event_id": f"{name}-{n}"} for n in range(first, first + count)
    ]
    assert client.post("/v1/events", {"events": events}).status == 201


def _delivered(url: str, name: str) -> int:
    statement = "SELECT count(*) FROM deliveries WHERE unit_id LIKE %s"
    return int(query(url, statement, f"{name}-%")[0][0])


def _exactly_once(url: str, name: str, count: int) -> None:
    """One firing for each event, one decision and one delivery for each firing, and nothing else."""
    fired = "SELECT count(*), count(DISTINCT cause), count(DISTINCT decision_id) FROM firings WHERE unit_id LIKE %s"
    assert query(url, fired, f"{name}-%") == [(count, count, count)]
    for table in ("decisions", "deliveries"):
        assert query(url, f"SELECT count(*) FROM {table} WHERE unit_id LIKE %s", f"{name}-%") == [(count,)]
    both = "SELECT count(*) FROM firings f JOIN deliveries d USING (decision_id)"
    assert query(url, f"{both} WHERE f.status = 'decided' AND f.unit_id LIKE %s", f"{name}-%") == [(count,)]


@contextmanager
def _locked(url: str, table: str) -> Iterator[None]:
    """Lock a table against all other writers."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield
    finally:
        connection.close()


def _held_at(url: str, statement: str) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    return bool(query(url, waiting, f"%{statement}%")[0][0])


@pytest.mark.parametrize(
    ("table", "statement"), [("firings", "INSERT INTO firings"), ("deliveries", "INSERT INTO deliveries")]
)
def test_a_worker_killed_before_its_commit_fires_everything_exactly_once(
    client: Client, database_url: str, redis_url: str, table: str, statement: str
) -> None:
    """It is killed after matching and before the commit, and after a decision and before recording it."""
    name = f"killed-at-{table}"
    _trigger(client, name)
    worker = Worker(database_url, redis_url)
    try:
        with _locked(database_url, table):
            _report(client, name, 200)
            worker.start()
            wait_for(lambda: _held_at(database_url, statement), PATIENCE_S, "a worker before its commit")
            worker.kill("worker")
        wait_for(lambda: not _held_at(database_url, statement), 30, "the end of the dead worker's sessions")
        worker.start("worker")
        wait_for(lambda: _delivered(database_url, name) == 200, PATIENCE_S, "the deliveries")
    finally:
        worker.stop()
    _exactly_once(database_url, name, 200)


def test_a_worker_killed_again_and_again_under_load_fires_everything_exactly_once(
    client: Client, database_url: str, redis_url: str
) -> None:
    _trigger(client, "under-load")
    worker = Worker(database_url, redis_url).start()
    chance = random.Random(5)
    try:
        for lap in range(4):
            before = _delivered(database_url, "under-load")
            _report(client, "under-load", 150, first=150 * lap)
            wait_for(lambda before=before: _delivered(database_url, "under-load") > before, PATIENCE_S, "a delivery")
            time.sleep(chance.uniform(0, 0.4))
            worker.kill("worker")
            worker.start("worker")
        wait_for(lambda: _delivered(database_url, "under-load") == 600, PATIENCE_S, "the deliveries")
    finally:
        worker.stop()
    _exactly_once(database_url, "under-load", 600)


def test_two_workers_and_two_clocks_fire_everything_exactly_once(
    client: Client, database_url: str, redis_url: str
) -> None:
    _trigger(client, "doubled")
    with running_worker(database_url, redis_url), running_worker(database_url, redis_url):
        for lap in range(4):
            _report(client, "doubled", 100, first=100 * lap)
        wait_for(lambda: _delivered(database_url, "doubled") == 400, PATIENCE_S, "the deliveries")
    _exactly_once(database_url, "doubled", 400)


def test_a_call_of_a_killed_worker_is_repeated(client: Client, database_url: str, redis_url: str) -> None:
    """At least once: the receiver sees one delivery id twice. Another receiver does not have to wait."""
    with receiving(lambda call, number: None if number == 1 else 200) as receiver, receiving() as quick:
        worker = Worker(database_url, redis_url, LOOPWISE_ALLOW_HTTP_LOOPBACK="1")
        for key, url in (("called", receiver.url), ("quick", quick.url)):
            stored = "INSERT INTO webhooks (key, url, secret_version, status, created_by)"
            query(database_url, f"{stored} VALUES (%s, %s, 1, 'running', 'test')", key, url)
            _trigger(client, key, delivery={"to": "webhook", "webhook": key})
        try:
            worker.start()
            _report(client, "called", 1)
            wait_for(lambda: receiver.calls, PATIENCE_S, "the first call")
            worker.kill("worker")
            worker.start("worker")
            _report(client, "quick", 20)
            wait_for(lambda: len(quick.calls) == 20, PATIENCE_S, "the other receiver's calls")
            wait_for(lambda: len(receiver.calls) == 2, PATIENCE_S, "the second call, when the lease ended")
            status = "SELECT status FROM deliveries WHERE unit_id = 'called-0'"
            wait_for(lambda: query(database_url, status) == [("delivered",)], 30, "its end")
        finally:
            worker.stop()
    assert len({call.headers["loopwise-delivery"] for call in receiver.calls}) == 1
    assert len({call.headers["loopwise-delivery"] for call in quick.calls}) == 20
