"""A running `loopwise up` under load, a ledger outside of it of all that it acknowledged, and the comparison of the two."""

import contextlib
import http.client
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg2

from app.embedded.process import free_port
from app.embedded.state import DataDir
from app.foundation.store import engine as store_engine
from app.verification.audit import audit_experiment
from tests.commands.installation import Installation, children_of
from tests.service import Client, query, settings, wait_for

THREADS: Final = 4
SOON_S: Final = 90.0  # nothing may take so long; a row says itself what recovery is right
DEFAULT: Final = [{"key": "all", "share": 1.0, "policy": {"type": "bandit"}}]


class Told(NamedTuple):
    """What one run of a row showed."""

    acknowledged: int  # decisions
    lost: list[str]  # each sentence is one difference between ledger and log
    recovery_s: float  # from the end of the fault until calls are answered again
    statuses: dict[str, int]  # what clients got
    silence_s: float  # the longest time in which no client had an answer with success
    longest_s: float  # that a client waited for an answer, or for the end of its connection
    said: list[str]  # lines that `up` printed for the operator


class Ledger:
    """What clients were told, and when."""

    def __init__(self) -> None:
        self.decided: dict[str, float] = {}
        self.rewarded: set[str] = set()
        self.open: set[str] = set()  # decisions whose answer never came, or was 503
        self.statuses: Counter[str] = Counter()
        self.longest_s = 0.0
        self.silence_s = 0.0
        self._answered_at = time.monotonic()

    def note(self, status: str, began: float) -> None:
        now = time.monotonic()
        self.statuses[status] += 1
        self.longest_s = max(self.longest_s, now - began)
        if status in ("200", "201"):
            self.silence_s = max(self.silence_s, now - self._answered_at)
            self._answered_at = now


class Stage:
    """The installation that faults are done to."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port, self.environment = free_port(), environment
        self.up = Installation(folder)
        self.client: Client
        self.url = ""
        self.key = ""  # of the experiment of this run

    def start(self) -> None:
        """Start `up`, or start it again in the same folder and at the same address."""
        environment = {"LOOPWISE_BEAT_INTERVAL_S": "0.5", "LOOPWISE_LOG_LEVEL": "warning", **self.environment}
        self.up.start("--port", str(self.port), **environment)
        runtime = self.up.runtime()
        self.url = runtime["database_url"]
        key = Path(self.up.data_dir, "admin-key").read_text(encoding="ascii").strip()
        self.client = Client(self.port, key, timeout_s=20)

    def pid(self, role: str) -> int:
        """The process of a role: web, worker, beat, postgres or redis."""
        return self.up.children()[role]

    def child(self, role: str) -> int:
        """One process below that of a role."""
        return min(children_of(self.pid(role)))

    def settings(self) -> Any:
        """The settings of its processes."""
        return settings(self.url, LOOPWISE_SECRET_KEY=DataDir(self.up.data_dir).read_secret_key())

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return query(self.url, statement, *values)

    def experiment_id(self) -> int:
        return int(self.query("SELECT id FROM experiments WHERE key = %s", self.key)[0][0])

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Another session holds a table."""
        connection = psycopg2.connect(self.url)
        try:
            connection.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
        finally:
            connection.close()

    @contextlib.contextmanager
    def frozen(self, pid: int) -> Iterator[None]:
        """A process and those below it neither run nor end."""
        pids = [pid, *children_of(pid)]
        for one in pids:
            _signal(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in pids:
                _signal(one, signal.SIGCONT)

    def answers(self) -> bool:
        """True when a decision is stored and /readyz is green."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.client.decide(self.key).status == 201 and self.client.get("/readyz").status == 200
        return False

    def ask(self, ledger: Ledger, decision_id: str) -> bool:
        """Decide and reward once, and note what was answered; False: no answer, or none with success."""
        unit = {
            "experiment": self.key,
            "unit_id": decision_id,
            "decision_id": decision_id,
            "context": {"n": len(decision_id)},
        }
        answer = self._call(ledger, "/v1/decide", unit)
        if answer is None or answer.status not in (200, 201):
            ledger.open.add(decision_id)
            return False
        ledger.open.discard(decision_id)
        ledger.decided[decision_id] = answer.body["propensity"]
        answer = self._call(ledger, "/v1/reward", {"decision_id": decision_id, "value": 1.0})
        if answer is not None and answer.status in (200, 201):
            ledger.rewarded.add(decision_id)
        return True

    def _call(self, ledger: Ledger, path: str, body: Any) -> Any:
        began = time.monotonic()
        try:
            answer = self.client.post(path, body)
        except (OSError, http.client.HTTPException) as error:
            ledger.note(type(error).__name__, began)
            time.sleep(0.02)
            return None
        ledger.note(str(answer.status), began)
        return answer

    def compare(self, ledger: Ledger) -> list[str]:
        """Ask again for what got no answer, wait until all is learned, and compare the log with the ledger."""
        for decision_id in sorted(ledger.open):
            wait_for(
                lambda name=decision_id: self.ask(ledger, name), SOON_S, "the answer to a call that was sent again"
            )
        return [*self._not_stored(ledger), *self._not_learned_once(ledger), *self._audited()]

    def _not_stored(self, ledger: Ledger) -> list[str]:
        found = "SELECT id, propensity FROM decisions WHERE state = 'active' AND id = ANY(%s)"
        stored = dict(self.query(found, list(ledger.decided)))
        rewards = self.query("SELECT decision_id FROM rewards WHERE decision_id = ANY(%s)", sorted(ledger.rewarded))
        gone = [
            f"decision {name} is not as it was answered"
            for name in ledger.decided
            if stored.get(name) != ledger.decided[name]
        ]
        return gone + [f"the reward of {name} is lost" for name in ledger.rewarded - {row[0] for row in rewards}]

    def _not_learned_once(self, ledger: Ledger) -> list[str]:
        waiting = "SELECT count(*) FROM awaiting_outcome WHERE experiment_id = %s"
        wait_for(lambda: self.query(waiting, self.experiment_id()) == [(0,)], SOON_S, "the last training round")
        learned = """
            SELECT l.decision_id, count(*) FROM training_ledger l JOIN lineages i USING (experiment_id, arm, generation)
            WHERE l.experiment_id = %s GROUP BY 1
        """
        times = dict(self.query(learned, self.experiment_id()))
        wrong = {name: times.get(name, 0) for name in ledger.decided if times.get(name, 0) != 1}
        return [f"decision {name} was learned {count} times" for name, count in wrong.items()]

    def _audited(self) -> list[str]:
        engine = store_engine.create(self.url, self.settings())
        try:
            report = audit_experiment(engine, self.settings(), self.key)
        finally:
            engine.dispose()
        return [f"audit: {finding}" for finding in report.findings]


@contextlib.contextmanager
def stage(parent: str | None = None, **environment: str) -> Iterator[Stage]:
    """A new installation for the duration of a block.

    :param parent: the folder to make it in; null: the usual one for temporary files.
    :param environment: more settings.
    """
    with tempfile.TemporaryDirectory(prefix="loopwise-faults-", dir=parent) as folder:
        Path(folder).chmod(0o755)
        made = Stage(Path(folder), environment)
        made.start()
        try:
            yield made
        finally:
            if made.up.process is not None:
                made.up.end(signal.SIGTERM)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def make_experiment(stage: Stage, key: str) -> None:
    """The experiment of one run: it learns, and its windows close after a second."""
    stage.key = key
    stage.client.make(key, arms=DEFAULT, reward={"window_s": 1.0})
