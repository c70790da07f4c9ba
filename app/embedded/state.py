"""The data directory of one installation: its paths, its lock, its secrets, and the running servers.

`loopwise up` stores everything in it. Other users must not be able to read any of it.
"""

import json
import os
import pwd
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from app.embedded import process, secret
from app.embedded.errors import ServerError


@dataclass(frozen=True)
class Running:
    """The addresses of a running `loopwise up`, for other commands, in ``runtime.json`` (mode 0600)."""

    pid: int  # of `up`
    url: str  # of the web server
    database_url: str
    redis_url: str


class DataDir:
    """The paths in one data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.admin_key = self.path / "admin-key"
        self.runtime = self.path / "runtime.json"
        self.secret_key = self.path / "secret-key"

    def prepare(self) -> "DataDir":
        """Create the folder, closed to other users.

        For root, the group becomes that of `nobody`, who may enter (not list) the folder to reach the servers' folders.

        :raises ServerError: the folder cannot be created or belongs to another user.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(self.path, 0, pwd.getpwnam("nobody").pw_gid)
                self.path.chmod(0o710)
            else:
                self.path.chmod(0o700)
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ServerError(f"the data directory {self.path} cannot be used: {error.strerror}.") from error
        return self

    def log(self, name: str) -> Path:
        """Return the log file of one process."""
        return self.logs / f"{name}.log"

    def lock(self) -> int:
        """Lock the directory for this `up`. The lock ends with this process, however it ends.

        :raises ServerError: another `up` runs; the error has its address.
        """
        descriptor = process.lock_file(self.path / "up.lock")
        if descriptor is None:
            running = self._read_runtime()
            where = f"at {running.url} (pid {running.pid})" if running else "and is starting or stopping"
            raise ServerError(f"`loopwise up` already runs on {self.path} {where}.")
        self.runtime.unlink(missing_ok=True)  # left by a killed `up`
        return descriptor

    def announce(self, running: Running) -> None:
        """Write ``runtime.json``."""
        secret.write(self.runtime, json.dumps(asdict(running), indent=1))

    def running(self) -> Running | None:
        """Return the servers of a running `up`, or None if none answers."""
        running = self._read_runtime()
        return running if running is not None and _listens(running.database_url) else None

    def has_cluster(self) -> bool:
        """Return True if an earlier `up` created an embedded PostgreSQL here."""
        return (self.path / "postgres" / "PG_VERSION").exists()

    def read_secret_key(self) -> str:
        """Return the key that signs models. The first call creates it."""
        return secret.read_or_make(self.secret_key)

    def _read_runtime(self) -> Running | None:
        try:
            return Running(**json.loads(self.runtime.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5432), 2).close()
    except OSError:
        return False
    return True
