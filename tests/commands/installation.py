"""`loopwise up` as a user runs it, in a folder of its own, with helpers for the tests."""

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
    """A data directory, sometimes with a running `up`."""

    def __init__(self, folder: Path, identity: Identity | None = None) -> None:
        self.data_dir = folder / "data"
        self._output = folder / "output.txt"
        self._identity = identity
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, **environment: str) -> "Installation":
        """Start `up` and wait until it is ready."""
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
        """Read the addresses that `up` writes for the other commands."""
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
        """Call the web server as the administrator, with POST if there is a body; returns the status, or 0 without an answer."""
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
        """Return the pids of the direct children by name."""
        assert self.process is not None
        children = {}
        for pid in children_of(self.process.pid):
            children[_name(pid)] = pid
        return children

    def family(self) -> set[int]:
        """Return the pids of `up` and all its descendants."""
        assert self.process is not None
        parents = _processes()
        family = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        return family

    def end(self, number: int = signal.SIGINT, deadline_s: float = 40) -> int:
        """Signal `up`, wait for its end, and return its exit code."""
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
    others = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**others, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def installation(identity: Identity | None = None) -> Iterator[Installation]:
    """Yield a new installation, and remove the rest of it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="loopwise-up-"))
    folder.chmod(0o755)
    new = Installation(folder, identity)
    try:
        yield new
    finally:
        if new.process is not None and new.process.poll() is None:
            new.end(signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], bool], deadline_s: float, explain: Callable[[], str] = str) -> None:
    """Poll until the condition is true; fail with an explanation after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s\n{explain()}"
        time.sleep(0.05)


def alive(pids: set[int]) -> set[int]:
    """Return the processes that still run. A zombie, which waits for its parent, does not count."""
    return pids & set(_processes())


def children_of(pid: int) -> set[int]:
    """Return the pids of the direct children of a process."""
    return {child for child, parent in _processes().items() if parent == pid}


def _processes() -> dict[int, int]:
    """Return the parent of every process except zombies, by pid."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    return parents


def _name(pid: int) -> str:
    """Return the name of a process: "web", "worker", "beat", "postgres" or "redis"."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "app.commands" in words:
            return words[words.index("app.commands") + 1]
        return "postgres" if words[0].endswith("/postgres") else "redis"
    return "gone"
