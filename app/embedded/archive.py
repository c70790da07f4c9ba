"""Point-in-time recovery of the embedded PostgreSQL: an archive of the write-ahead log, base backups, restore to a time."""

import os
import shlex
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.embedded.errors import ServerError
from app.embedded.postgres import find_programs
from app.embedded.state import DataDir

LONGEST_S = 3600.0


def base_backup(database_url: str, folder: Path) -> None:
    """Copy the running cluster to a new folder (mode 0700), with the log that the copy needs.

    :raises ServerError: pg_basebackup failed; the error has its message.
    """
    url = urlsplit(database_url)
    where = ["-h", url.hostname or "", "-p", str(url.port), "-U", unquote(url.username or "")]
    command: list[str | Path] = [
        find_programs() / "pg_basebackup",
        *where,
        "-D",
        folder,
        "--checkpoint=fast",
        "--wal-method=stream",
        "-w",
    ]
    environment = {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": unquote(url.password or "")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    if done.returncode:  # pg_basebackup has removed what it made
        raise ServerError(f"the base backup failed: {done.stderr.strip()}")


def restore_to(data_dir: DataDir, base: Path, archive: Path, until: datetime) -> None:
    """Prepare a new data directory, whose PostgreSQL recovers to a time at its next start; see docs/operations.md.

    The directory needs the ``secret-key`` and the ``postgres-password`` of the old one.

    :raises ServerError: the directory has a cluster, or no password; or the base backup is none.
    """
    if data_dir.has_cluster():
        raise ServerError(f"{data_dir.path} has a PostgreSQL cluster; restore into a new --data-dir.")
    if not (data_dir.path / "postgres-password").exists() or not data_dir.secret_key.exists():
        raise ServerError(f"put the old secret-key and postgres-password into {data_dir.path} first.")
    if not (base / "PG_VERSION").exists():
        raise ServerError(f"{base} is no base backup of PostgreSQL.")
    cluster = data_dir.prepare().path / "postgres"
    shutil.copytree(base, cluster)
    cluster.chmod(0o700)
    fetch = f"cp {shlex.quote(str(archive.resolve()))}/%f %p".replace("'", "''")
    with (cluster / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
        file.write(f"restore_command = '{fetch}'\nrecovery_target_time = '{until.isoformat()}'\n")
        file.write("recovery_target_action = 'promote'\n")
    (cluster / "recovery.signal").touch()
