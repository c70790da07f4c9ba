"""A PostgreSQL of a test's own, that can be frozen and killed, and clients that remember what was acknowledged."""

import contextlib
import http.client
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.embedded.postgres import PostgresServer
from app.embedded.state import DataDir
from app.foundation.store.migrate import upgrade
from tests.service import Client, descendants


class Cluster:
    """One server that writes its log at each commit.

    Without fsync: the kernel keeps what a killed process wrote, so fsync matters only for a power cut, which no test here
    simulates. And a shared disk that stalls for seconds would look like a service that does not recover.
    """

    def __init__(self) -> None:
        data_dir = DataDir(Path(tempfile.mkdtemp(prefix="loopwise-faults-"))).prepare()
        self._folder = data_dir.path
        self.server = PostgresServer(
            data_dir.path, data_dir.log("postgres"), {"shared_buffers": "64MB", "fsync": "off"}
        )

    def start(self) -> str:
        """Start and migrate; returns the address."""
        self.server.start()
        upgrade(self.server.url())
        return self.server.url()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL every process at once, so that nothing more is flushed."""
        self._signal(signal.SIGKILL)
        assert self.server.process is not None
        self.server.process.wait(10)
        self.server.process = None

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, AssertionError):
            self.thaw()
        self.server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self.server.process is not None
        for pid in (self.server.process.pid, *descendants(self.server.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@contextlib.contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    """The database neither answers nor refuses for the duration of a block."""
    cluster.freeze()
    try:
        yield
    finally:
        cluster.thaw()


class Load:
    """Clients in threads that decide and reward without pause, and record every acknowledgement."""

    def __init__(self, client: Client, experiment: str, threads: int = 4) -> None:
        self.decided: dict[str, float] = {}  # id -> propensity, as answered 201 or 200
        self.rewarded: set[str] = set()
        self.refused: set[str] = set()  # ids of decides that were answered 503
        self.unknown: set[str] = set()  # ids of decides whose answer never came
        self.other: list[bytes] = []
        self._client = client
        self._experiment = experiment
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            self._one(f"{self._experiment}-{number}-{turn}")

    def _one(self, decision_id: str) -> None:
        answer = self._ask("/v1/decide", {"experiment": self._experiment, "unit_id": "u", "decision_id": decision_id})
        if answer is None:
            self.unknown.add(decision_id)
            return
        if answer.status == 503:
            self.refused.add(decision_id)
            return
        if answer.status not in (200, 201):
            self.other.append(answer.raw)
            return
        self.decided[decision_id] = answer.body["propensity"]
        answer = self._ask("/v1/reward", {"decision_id": decision_id, "value": 1.0})
        if answer is not None and answer.status in (200, 201):
            self.rewarded.add(decision_id)
        elif answer is not None and answer.status != 503:
            self.other.append(answer.raw)

    def _ask(self, path: str, body: Any) -> Any:
        try:
            return self._client.post(path, body)
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
            return None
