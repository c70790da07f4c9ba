"""Loopwise behind Debian's pgbouncer in transaction mode: the loop runs, limits hold, and nothing is left in a session."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from sqlalchemy import exc, text

from app.embedded.process import free_port
from app.foundation.store.engine import create, transaction
from app.people import erasure
from tests.service import Loop, query, running_web, runtime_of, settings, wait_for

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
POOLED = {"LOOPWISE_PGBOUNCER": "1", "LOOPWISE_DECIDE_DEADLINE_S": "20", "LOOPWISE_STATEMENT_TIMEOUT_S": "10"}


@pytest.fixture(scope="module")
def pooled_url(database_url: str) -> Iterator[str]:
    """The same database through pgbouncer, which has two connections to it."""
    parts, port = urlsplit(database_url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="loopwise-pgbouncer-"))
    folder.chmod(0o755)  # pgbouncer does not run as root
    settings_file = Path(folder, "pgbouncer.ini")
    settings_file.write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port} user={parts.username} password={parts.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 200\n",
        encoding="ascii",
    )
    nobody: dict[str, Any] = {"user": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    process = subprocess.Popen([str(PROGRAM), "-q", str(settings_file)], cwd="/", **nobody)
    url = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
    try:
        wait_for(lambda: _answers(url) or process.poll() is not None, 10, "pgbouncer's start")
        assert process.poll() is None
        yield url
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_decide_reward_learn_and_erase(pooled_url: str, database_url: str) -> None:
    with runtime_of(pooled_url, **POOLED) as runtime:
        loop = Loop(runtime, database_url)
        made = loop.learn("pooled")
        loop.more("pooled", made, 20)
        asked = erasure.ask(runtime.engine, loop.settings, loop.caller, "unit-1")
        assert erasure.run_waiting(runtime.engine, loop.settings) == [asked.erasure_id]
        assert loop.audit("pooled").ok
    locks = """
        SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND d.datname = current_database()
    """
    assert query(database_url, locks) == [(0,)]


def test_limits_hold_in_each_transaction_and_stay_in_no_session(pooled_url: str) -> None:
    engine = create(pooled_url, settings(pooled_url, **POOLED), statement_timeout_s=0.2)
    with pytest.raises(exc.OperationalError, match="statement timeout"), engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(5)"))
    with transaction(engine) as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "200ms"
        assert connection.execute(text("SHOW timezone")).scalar() == "UTC"
    engine.dispose()
    assert query(pooled_url, "SHOW statement_timeout") == [("0",)]


def test_a_web_server_decides_through_two_connections(pooled_url: str, database_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tests.service import make_key

    with running_web(pooled_url, LOOPWISE_PGBOUNCER="1") as web:
        client = web.client(make_key(database_url))
        client.make("served")
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: client.decide("served", f"u{n}").status, range(200)))
        assert answers == [201] * 200
        assert client.get("/readyz").status == 200
    stored = "SELECT count(*) FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = 'served'"
    assert query(database_url, stored) == [(200,)]
