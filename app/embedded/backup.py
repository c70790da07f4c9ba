"""Dump and restore with PostgreSQL's own programs. Restoring never writes into a database that holds experiments."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2

from app.embedded.errors import ServerError
from app.embedded.locate import servers
from app.embedded.postgres import PostgresServer, find_programs
from app.embedded.state import DataDir
from app.registry.signed_bytes import SignedRow, is_signed_by


def dump(database_url: str, file: Path) -> None:
    """Write everything to ``file`` (mode 0600), completely or not at all.

    :raises ServerError: pg_dump failed; the error has its message.
    """
    fresh = file.with_name(file.name + ".part")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    try:
        _run("pg_dump", database_url, ["--format=custom", "--no-owner", "--no-privileges", f"--file={fresh}"])
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def restore_into(data_dir: DataDir, file: Path) -> None:
    """Restore a dump into the database of DATABASE_URL, or of a data directory.

    :raises ServerError: the database holds experiments, the secret key is not the dump's, or pg_restore failed; the error has its
        message. Nothing was written then.
    """
    if not os.environ.get("DATABASE_URL") and not data_dir.has_cluster():
        server = PostgresServer(data_dir.prepare().path, data_dir.log("postgres"))
        server.start()
        server.stop()
    with servers(data_dir) as settings:
        if _has_experiments(settings.database_url):
            raise ServerError("the database holds experiments; restore into an empty one (a new --data-dir).")
        _check_key(settings.secret_key, file, data_dir)
        options = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        _run("pg_restore", settings.database_url, [*options, str(file)])


def _check_key(secret: str, file: Path, data_dir: DataDir) -> None:
    """Check the signature of one model in the dump. A dump without models has none, and is taken with any key."""
    row = _first_model(file)
    if row is None or is_signed_by(secret, row):
        return
    what = "is not the one that signed the models in" if secret else "is missing, and needed for"
    raise ServerError(
        f"the secret key {what} {file}: nothing was restored. Copy the key that was kept with the dump to "
        f"{data_dir.secret_key}, or set LOOPWISE_SECRET_KEY, and restore again."
    )


def _first_model(file: Path) -> SignedRow | None:
    """The first model version in a dump. Only its beginning is read: models are large."""
    command = [str(find_programs() / "pg_restore"), "--data-only", "--table=model_versions", "--file=-", str(file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as reading:
        assert reading.stdout is not None
        columns: list[str] = []
        for line in reading.stdout:
            if columns:
                reading.kill()
                values = dict(zip(columns, line.rstrip("\n").split("\t"), strict=False))
                return _signed_row(values) if line != "\\.\n" else None
            match = re.match(r"COPY \S*model_versions \((.*)\) FROM stdin;", line)
            columns = match[1].split(", ") if match else []
    return None  # no such table, or no dump at all: pg_restore itself tells


def _signed_row(values: Mapping[str, str]) -> SignedRow:
    return SignedRow(
        int(values["experiment_id"]), values["arm"], int(values["number"]), values["sha256"], values["signature"]
    )


def _has_experiments(url: str) -> bool:
    connection = psycopg2.connect(url, connect_timeout=10)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('experiments') IS NOT NULL")
            row = cursor.fetchone()
            if row is None or not row[0]:
                return False
            cursor.execute("SELECT EXISTS (SELECT 1 FROM experiments)")
            row = cursor.fetchone()
            return bool(row and row[0])
    finally:
        connection.close()


def _run(program: str, url: str, options: list[str]) -> None:
    """Run a program. The address goes through the environment, so that the process list does not show the password."""
    parts = urlsplit(url)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.lstrip("/"),
    }
    target = [f"--dbname={environment['PGDATABASE']}"] if program == "pg_restore" else []
    command = [str(find_programs() / program), *target, *options]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServerError(f"{program} failed: {result.stderr.strip()}")
