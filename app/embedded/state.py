"""The data directory of one installation: its paths, its lock, its secrets, and what runs now.

Everything that `loopwise up` keeps is below it. Nothing in it may be readable for other users.
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
    """What a running `loopwise up` tells the other commands, in ``runtime.json`` (mode 0600)."""

    pid: int  # of `up`
    url: str  # of the web server
    database_url: str
    redis_url: str


class DataDir:
    """Paths below one data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.admin_key = self.path / "admin-key"
        self.runtime = self.path / "runtime.json"
        self.secret_key = self.path / "secret-key"

    def prepare(self) -> "DataDir":
        """Make the folder, closed to others.

        As root its group becomes that of `nobody`, who may pass through (not list) to the servers' own folders.

        :raises ServerError: when it cannot be made or belongs to somebody else.
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
        """Become the one `up` of this directory; the lock ends with this process, however it ends.

        :raises ServerError: when another one runs, with its address.
        """
        descriptor = process.lock_file(self.path / "up.lock")
        if descriptor is None:
            running = self._read_runtime()
            where = f"at {running.url} (pid {running.pid})" if running else "and is starting or stopping"
            raise ServerError(f"`loopwise up` runs already on {self.path} {where}.")
        self.runtime.unlink(missing_ok=True)  # a killed one's
        return descriptor

    def announce(self, running: Running) -> None:
        """Write ``runtime.json``."""
        secret.write(self.runtime, json.dumps(asdict(running), indent=1))

    def running(self) -> Running | None:
        """Return the servers of a running `up`; None when there is none that answers."""
        found = self._read_runtime()
        return found if found is not None and _listens(found.database_url) else None

    def has_cluster(self) -> bool:
        """Tell whether an earlier `up` left an embedded PostgreSQL here."""
        return (self.path / "postgres" / "PG_VERSION").exists()

    def read_secret_key(self) -> str:
        """Return the key that signs models, made at the first call."""
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
