"""After an erasure no file of an installation names the unit, whatever failed while it was there."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.commands.installation import Installation, children_of, installation, wait_for
from tests.service import Client, definition

pytestmark = pytest.mark.slow
UNIT = "needle-ann@example.org"
# PostgreSQL's own storage, of which docs/operations.md says what stays in it and for how long.
STORAGE = ("base", "global", "pg_wal", "pg_xact")


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation() as installed:
        yield installed.start(LOOPWISE_BEAT_INTERVAL_S="1", LOOPWISE_ACCESS_LOG="1")


@pytest.fixture(scope="module")
def client(running: Installation) -> Client:
    key = (running.data_dir / "admin-key").read_text(encoding="ascii").strip()
    return Client(int(running.runtime()["url"].rpartition(":")[2]), key)


def _naming(folder: Path) -> set[str]:
    """The files that hold the unit's id."""
    storage = {folder / "postgres" / name for name in STORAGE}
    files = [path for path in folder.rglob("*") if path.is_file() and not storage & set(path.parents)]
    assert len(files) > 20
    return {str(path.relative_to(folder)) for path in files if UNIT.encode() in path.read_bytes()}


def _a_statement_that_times_out(client: Client, url: str) -> None:
    blocker = psycopg2.connect(url)
    try:
        blocker.cursor().execute("LOCK TABLE decisions, rewards IN ACCESS EXCLUSIVE MODE")
        assert client.decide("needle", UNIT, context={"who": UNIT}).status == 503
        assert client.get(f"/v1/units/{UNIT}").status == 503
    finally:
        blocker.close()


def _statements_that_fail(url: str) -> None:
    """As an administrator, or a fault of ours, would send them."""
    for statement in (
        "INSERT INTO erasures (id, unit_hash, unit_id, status) VALUES ('1', '1', %s, NULL)",
        "SELECT %s::integer",
        "SELECT * FROM nowhere WHERE unit_id = %s",
        "DO $$ BEGIN RAISE WARNING 'careful with %%', %s; END $$",
    ):
        connection = psycopg2.connect(url)
        with contextlib.suppress(psycopg2.Error), connection, connection.cursor() as cursor:
            cursor.execute(statement, (UNIT,))
        connection.close()


def _a_server_process_that_is_killed(running: Installation, url: str) -> None:
    """PostgreSQL then says what the process was running."""
    connection = psycopg2.connect(url)
    pid = connection.info.backend_pid
    connection.set_session(autocommit=True)
    before = running.children()["postgres"]
    assert pid in children_of(before)
    reader, writer = os.pipe()
    if os.fork() == 0:  # the statement runs while we kill it
        with contextlib.suppress(psycopg2.Error):
            os.write(writer, b"x")
            connection.cursor().execute("SELECT pg_sleep(20), %s", (UNIT,))
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    wait_for(lambda: _runs(running, pid), 10)
    os.kill(pid, signal.SIGKILL)
    os.wait()
    wait_for(lambda: running.get("/readyz") == 200, 30, running.output)


def _runs(running: Installation, pid: int) -> bool:
    connection = psycopg2.connect(running.runtime()["database_url"])
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,))
            return cursor.fetchone() == ("active",)
    finally:
        connection.close()


def test_no_file_names_an_erased_unit(running: Installation, client: Client) -> None:
    url = running.runtime()["database_url"]
    client.make("needle", **{k: v for k, v in definition("needle").items() if k != "key"})
    assert client.decide("needle", UNIT, decision_id=f"order-{UNIT}", context={"who": UNIT}).status == 201
    assert client.decide("needle", "other", decision_id=f"order-{UNIT}").status == 409
    assert client.reward(f"order-{UNIT}", 1.0, reward_id=UNIT).status in (200, 201)
    assert client.post("/v1/decide", f'{{"unit_id": "{UNIT}"'.encode()).status == 400
    _a_statement_that_times_out(client, url)
    _statements_that_fail(url)
    _a_server_process_that_is_killed(running, url)
    answer = client.post("/v1/erasure", {"unit_id": UNIT})
    assert answer.status == 202
    address = f"/v1/erasure/{answer.body['erasure_id']}"
    wait_for(lambda: client.get(address).body["status"] == "done", 60, running.output)
    assert _naming(running.data_dir) == set()
    log = (running.data_dir / "logs" / "postgres.log").read_text(encoding="utf-8")
    assert "terminated by signal 9" in log  # its own events are there
    assert '"event":"request"' in (running.data_dir / "logs" / "web.log").read_text(encoding="utf-8")
