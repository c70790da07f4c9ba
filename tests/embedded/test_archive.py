"""Point-in-time recovery: a row that somebody deleted is back at the time before, on a PostgreSQL of its own."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.embedded.archive import base_backup, restore_to
from app.embedded.errors import ServerError
from app.embedded.postgres import PostgresServer
from app.embedded.state import DataDir
from tests.service import query, wait_for

pytestmark = pytest.mark.slow


def test_the_state_of_a_moment_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = DataDir(tmp_path / "old").prepare()
    archive, base = home.path / "it's an archive", home.path / "base"
    monkeypatch.setenv("LOOPWISE_WAL_ARCHIVE", str(archive))
    server = PostgresServer(home.path, home.log("postgres"))
    server.start()
    try:
        query(server.url(), "CREATE TABLE kept AS SELECT 1 AS n")
        base_backup(server.url(), base)
        query(server.url(), "INSERT INTO kept VALUES (2)")
        time.sleep(1)
        moment = datetime.now(UTC)
        time.sleep(1)
        query(server.url(), "DELETE FROM kept")
        ((name,),) = query(server.url(), "SELECT pg_walfile_name(pg_current_wal_lsn())")
        query(server.url(), "SELECT pg_switch_wal()")
        wait_for((archive / name).exists, 30, "the archive")
    finally:
        server.stop()
    new = DataDir(tmp_path / "old" / "new")
    with pytest.raises(ServerError, match="postgres-password"):
        restore_to(new.prepare(), base, archive, moment)
    for secret in ("postgres-password", "secret-key"):
        (home.path / secret).touch()
        shutil.copy(home.path / secret, new.path / secret)
    restore_to(new, base, archive, moment)
    monkeypatch.delenv("LOOPWISE_WAL_ARCHIVE")
    restored = PostgresServer(new.path, new.log("postgres"))
    restored.start()
    try:
        wait_for(
            lambda: query(restored.url(), "SELECT pg_is_in_recovery()") == [(False,)], 30, "the end of the recovery"
        )
        assert query(restored.url(), "SELECT n FROM kept ORDER BY n") == [(1,), (2,)]
    finally:
        restored.stop()
