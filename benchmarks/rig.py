"""The installation that the benchmarks use: an embedded PostgreSQL with fsync on, one web process, and helpers to call it.

Everything lives in a temporary folder and ends with the ``with`` block.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson
from sqlalchemy import Engine, text

from app.accounts import keys
from app.embedded.postgres import PostgresServer
from app.embedded.process import free_port, kill_tree
from app.embedded.state import DataDir
from app.foundation.settings import Settings, from_environment
from app.foundation.store import engine as store_engine
from app.foundation.store import migrate
from app.learning import training
from benchmarks.workload import Workload

ROOT: Final = Path(__file__).resolve().parents[1]
WINDOW_S: Final = 1.0  # the shortest possible reward window, so that rounds are due soon
SECRET: Final = "benchmarks only: 32 bytes or more of a secret"
_READY_S: Final = 60.0


class Rig:
    """One installation; use it as a context manager."""

    def __init__(self) -> None:
        data_dir = DataDir(Path(tempfile.mkdtemp(prefix="loopwise-bench-"))).prepare()
        self._folder = data_dir.path
        self.postgres = PostgresServer(data_dir.path, data_dir.log("postgres"))
        self._server: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []
        self.port = 0
        self.key = ""
        self.settings: Settings
        self.engine: Engine

    def __enter__(self) -> "Rig":
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._stop()

    @property
    def web_pid(self) -> int:
        """The one process that answers (granian's own is its parent)."""
        assert self._server is not None
        (pid,) = children_of(self._server.pid)
        return pid

    def request(self, path: str, body: object = None) -> bytes:
        """One HTTP/1.1 request as bytes, keep-alive; POST when there is a body."""
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n"
        data = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data

    def call(self, path: str, body: object) -> Any:
        """POST and return the parsed answer, which must be a success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, orjson.dumps(body), {"Authorization": f"Bearer {self.key}"})
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {raw[:500]!r}")
        return orjson.loads(raw)

    def make_experiment(self, workload: Workload, key: str) -> None:
        """Create and start an experiment with one learning arm for everybody."""
        self.call("/v1/experiments", workload.definition(key, WINDOW_S))
        self.call(f"/v1/experiments/{key}/start", {})

    def feed(self, workload: Workload, experiments: list[str], count: int) -> None:
        """Decide and reward ``count`` times, the experiments in turn, and wait until their windows have closed."""
        per_call = min(1000, 20_000 // workload.actions)  # of 1,000 actions, a decision's row is 50 kB
        for start in range(0, count, per_call):
            numbers = range(start, min(count, start + per_call))
            requests = [workload.request(experiments[n % len(experiments)], n) for n in numbers]
            decided = self.call("/v1/decide/batch", {"decisions": requests})["decisions"]
            rewards = [
                {"decision_id": decision["decision_id"], "value": workload.reward(decision)} for decision in decided
            ]
            self.call("/v1/rewards/batch", {"rewards": rewards})
        time.sleep(WINDOW_S + 0.1)

    def teach(self, workload: Workload, experiments: list[str], count: int) -> None:
        """Give each experiment's arm a trained model, and wait until the web process serves it."""
        self.feed(workload, experiments, count)
        for experiment_id, arm in training.due_arms(self.engine):
            done = training.train_round(self.engine, self.settings, experiment_id, arm)
            if done is None or not done.promoted:
                raise RuntimeError(f"the round of experiment {experiment_id} ended with {done}")
        time.sleep(4 * self.settings.snapshot_interval_s)
        self.query("VACUUM ANALYZE")

    def query(self, statement: str) -> None:
        """Run one statement outside of a transaction."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))

    def _start(self) -> None:
        self.postgres.start()
        url = self.postgres.url()
        migrate.upgrade(url)
        environment = {"DATABASE_URL": url, "LOOPWISE_SECRET_KEY": SECRET}
        self.settings = from_environment(environment)
        self.engine = store_engine.create(url, self.settings)
        self.key = keys.create_key(self.engine, scopes=["admin"], name="benchmarks").secret_text
        self.port = free_port()
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("LOOPWISE_", "PROMETHEUS_"))
        }
        self._environment = {**inherited, **environment, "LOOPWISE_WEB_PROCESSES": "1"}
        self._server = self._serve(self.port)

    def front_of_before(self) -> tuple[int, int]:
        """Start a second web server, whose decisions wait in threads of Flask's; returns its port and its process."""
        port = free_port()
        self._others.append(self._serve(port, "wsgi"))
        (pid,) = children_of(self._others[-1].pid)
        return port, pid

    def serve_more(self, processes: int, **settings: str) -> tuple[int, int]:
        """Start another web server of so many processes; returns its port and its parent process."""
        port = free_port()
        self._others.append(self._serve(port, LOOPWISE_WEB_PROCESSES=str(processes), **settings))
        return port, self._others[-1].pid

    def _serve(self, port: int, *kind: str, **settings: str) -> "subprocess.Popen[bytes]":
        with Path(self._folder, "web.log").open("ab") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.server", str(port), *kind],
                cwd=ROOT, env=self._environment | settings, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._await_ready(port)
        return server

    def _await_ready(self, port: int) -> None:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the web process did not start:\n{Path(self._folder, 'web.log').read_text()}")

    def _stop(self) -> None:
        for server in filter(None, [self._server, *self._others]):
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                kill_tree(server.pid)
        if hasattr(self, "engine"):
            self.engine.dispose()
        self.postgres.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def children_of(pid: int) -> list[int]:
    """Pids of the processes directly below one."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listed.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]
