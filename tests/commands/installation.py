"""`loopwise up` as a user runs it, in a folder of its own, and what the tests ask about it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.embedded.identity import Identity

ROOT = Path(__file__).resolve().parents[2]
_READY_S = 90.0


class Installation:
    """A data directory and, at times, a running `up` over it."""

    def __init__(self, folder: Path, identity: Identity | None = None) -> None:
        self.data_dir = folder / "data"
        self._output = folder / "output.txt"
        self._identity = identity
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, **environment: str) -> "Installation":
        """Start `up` and wait until it says that it is ready."""
        child = self.launch(*options, **environment)
        wait_for(lambda: "ready: " in self.output() or child.poll() is not None, _READY_S, self.output)
        assert child.poll() is None, self.output()
        return self

    def launch(self, *options: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Start `up` without waiting."""
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                self._command("up", "--no-demo", "--port", "0", *options),
                stdout=output,
                stderr=output,
                cwd="/",
                env={**_environment(), **environment},
                preexec_fn=self._identity.enter if self._identity else None,
            )
        return self.process

    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def runtime(self) -> dict[str, Any]:
        """What `up` tells the other commands."""
        return dict(json.loads((self.data_dir / "runtime.json").read_text(encoding="utf-8")))

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run another command on the same folder."""
        return subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            env={**_environment(), **environment},
            check=False,
        )

    def get(self, path: str, body: object = None) -> int:
        """Ask the web server as the administrator, with POST when there is a body; 0 when it does not answer."""
        key = (self.data_dir / "admin-key").read_text(encoding="ascii").strip()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(self.runtime()["url"] + path, data, headers)
            with urllib.request.urlopen(request, timeout=5) as response:
                return int(response.status)
        except OSError:
            return 0

    def children(self) -> dict[str, int]:
        """Pids of the direct children by name."""
        assert self.process is not None
        found = {}
        for pid in children_of(self.process.pid):
            found[_name(pid)] = pid
        return found

    def family(self) -> set[int]:
        """`up` and everything below it."""
        assert self.process is not None
        parents = _processes()
        family = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        return family

    def end(self, number: int = signal.SIGINT, deadline_s: float = 40) -> int:
        """Signal `up` and wait for it."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(deadline_s)
        self.process = None
        return code

    def _command(self, command: str, *rest: str) -> list[str]:
        group = [command, rest[0]] if command == "keys" else [command]
        return [sys.executable, "-m", "app.commands", *group, "--data-dir", str(self.data_dir), *rest[len(group) - 1 :]]


def _environment() -> dict[str, str]:
    ours = ("DATABASE_URL", "REDIS_URL", "LOOPWISE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def installation(identity: Identity | None = None) -> Iterator[Installation]:
    """Give a new one, and take away whatever is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="loopwise-up-"))
    folder.chmod(0o755)
    made = Installation(folder, identity)
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.end(signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], bool], deadline_s: float, explain: Callable[[], str] = str) -> None:
    """Poll until it holds; fail with an explanation after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s\n{explain()}"
        time.sleep(0.05)


def alive(pids: set[int]) -> set[int]:
    """Those that still run; a zombie, which waits only to be reaped by somebody else, does not."""
    return pids & set(_processes())


def children_of(pid: int) -> set[int]:
    """Pids directly below one."""
    return {child for child, parent in _processes().items() if parent == pid}


def _processes() -> dict[int, int]:
    """Every process but zombies, with its parent."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


def _name(pid: int) -> str:
    """ "web", "worker", "beat", "postgres" or "redis"."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "app.commands" in words:
            return words[words.index("app.commands") + 1]
        return "postgres" if words[0].endswith("/postgres") else "redis"
    return "gone"
