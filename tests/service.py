"""Loopwise as its clients use it: real web servers and workers as processes, a small HTTP client, experiments for tests.

Everything here waits with a deadline and leaves no process behind.
"""

import contextlib
import hashlib
import http.client
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import orjson
import psycopg2

from app.embedded.process import free_port
from app.foundation.settings import Settings, from_environment

ROOT = Path(__file__).resolve().parents[1]
SECRET = "tests only: 32 bytes or more of a secret"
SCOPES = ("decide", "reward", "read", "manage", "people")
BOTH_FRONTS = ("loop", "flask")  # the web process that Loopwise starts, and the same routes under any WSGI server
_READY_S = 60.0


def wait_for(condition: Callable[[], Any], deadline_s: float, what: str = "it") -> Any:
    """Poll until the condition holds and return it; fail after the deadline."""
    end = time.monotonic() + deadline_s
    while not (result := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.02)
    return result


def settings(database_url: str, **environment: str) -> Settings:
    """Settings for services in this process."""
    return from_environment({"DATABASE_URL": database_url, "LOOPWISE_SECRET_KEY": SECRET, **environment})


_connections: dict[str, Any] = {}


def query(database_url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement directly on the database, and commit it."""
    connection = _connections.get(database_url)
    try:
        if connection is not None:
            return _query(connection, statement, values)
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        pass  # the server was killed in the meantime
    connection = _connections[database_url] = psycopg2.connect(database_url)
    connection.autocommit = True
    return _query(connection, statement, values)


def move_decisions(database_url: str, when: str, where: str, *values: Any, column: str = "decided_at") -> None:
    """Change when decisions were made, as SQL says, also in the table of ids. Outcomes keep the time that they were sealed with.

    :param column: of decisions; "id" gives them another id instead.
    """
    named = {"decided_at": "decided_at", "id": "decision_id"}[column]
    query(
        database_url,
        f"WITH before AS (SELECT d.id, d.experiment_id FROM decisions d WHERE {where}), moved AS ("
        f"UPDATE decisions d SET {column} = {when} FROM before b WHERE d.id = b.id AND d.experiment_id = b.experiment_id"
        " RETURNING b.id AS known, d.experiment_id, d.id, d.decided_at)"
        f" UPDATE decision_ids k SET {named} = m.{column} FROM moved m"
        " WHERE k.decision_id = m.known AND k.experiment_id = m.experiment_id",
        *values,
    )


def _query(connection: Any, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


TABLES = (
    "experiments",
    "experiment_configs",
    "decisions",
    "rewards",
    "awaiting_outcome",
    "outcomes",
    "training_ledger",
    "model_versions",
    "changes",
)


def counts(database_url: str) -> tuple[int, ...]:
    """Rows of every table that a request can write to."""
    return query(database_url, f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in TABLES)}")[0]


class Answer(NamedTuple):
    """An answer of the server."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)


@dataclass
class Client:
    """Calls one server with one key."""

    port: int
    key: str = ""
    timeout_s: float = 20.0
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own. Bytes are sent as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        sent |= {"Content-Type": "application/json"} if data is not None else {}
        try:
            with contextlib.suppress(BrokenPipeError):  # the server answers a body over the limit before it is complete
                connection.request(method, path, data, {**sent, **self.headers, **headers})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any) -> Answer:
        return self.call("PATCH", path, body)

    def decide(self, experiment: str, unit_id: str = "unit", **fields: Any) -> Answer:
        return self.post("/v1/decide", {"experiment": experiment, "unit_id": unit_id, **fields})

    def decide_many(self, experiment: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Decisions in one batch, which must succeed."""
        documents = [
            {"experiment": experiment, "unit_id": f"unit-{n}", **request} for n, request in enumerate(requests)
        ]
        answer = self.post("/v1/decide/batch", {"decisions": documents})
        assert answer.status in (200, 201), answer.raw
        return list(answer.body["decisions"])

    def reward(self, decision_id: str, value: Any, **fields: Any) -> Answer:
        return self.post("/v1/reward", {"decision_id": decision_id, "value": value, **fields})

    def reward_many(self, values: dict[str, float]) -> Answer:
        rewards = [{"decision_id": decision_id, "value": value} for decision_id, value in values.items()]
        answer = self.post("/v1/rewards/batch", {"rewards": rewards})
        assert answer.status in (200, 201), answer.raw
        return answer

    def make(self, key: str, *, start: bool = True, **fields: Any) -> dict[str, Any]:
        """Create an experiment (see ``definition``) and start it."""
        answer = self.post("/v1/experiments", definition(key, **fields))
        assert answer.status == 201, answer.raw
        if start:
            answer = self.post(f"/v1/experiments/{key}/start")
            assert answer.status == 200, answer.raw
        return dict(answer.body)


UNIFORM = [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}]


def bandit(algorithm: str = "epsilon_greedy", floor: float = 0.05, **parameters: Any) -> list[dict[str, Any]]:
    """One learning arm for everybody."""
    policy = {
        "type": "bandit",
        "algorithm": algorithm,
        "parameters": {"bits": 12, **parameters},
        "exploration_floor": floor,
    }
    return [{"key": "learned", "share": 1.0, "policy": policy}]


def definition(key: str, **fields: Any) -> dict[str, Any]:
    """An experiment of three actions, chosen uniformly unless ``arms`` says otherwise."""
    actions = [{"id": name, "features": {"size": n}, "payload": {"text": name.upper()}} for n, name in enumerate("abc")]
    return {"key": key, "actions": actions, "arms": UNIFORM, "reward": {"window_s": 600.0}, **fields}


class Web:
    """One `loopwise web`, which keeps its port when it is started again."""

    def __init__(self, database_url: str, *, front: str = "loop", **environment: str) -> None:
        """:param front: "loop", the product's; "flask", what any WSGI server runs."""
        self._folder = tempfile.TemporaryDirectory(prefix="loopwise-web-")
        self._front = front
        self.port = free_port()
        self._environment = {
            "DATABASE_URL": database_url,
            "LOOPWISE_SECRET_KEY": SECRET,
            "LOOPWISE_METRICS_DIR": f"{self._folder.name}/metrics",
            "LOOPWISE_WEB_PROCESSES": "1",  # what one process does is what a test can foresee
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> "Web":
        role = [] if self._front == "flask" else ["web"]
        module = "tests.flask_server" if self._front == "flask" else "app.commands"
        command = [*role, "--port", str(self.port)]
        self.process = _launch(command, self._folder.name, self._environment, module)
        wait_for(lambda: self._answers("/readyz" if ready else "/healthz"), _READY_S, "the web server's readiness")
        return self

    def client(self, key: str = "", timeout_s: float = 20.0) -> Client:
        return Client(self.port, key, timeout_s)

    def log(self) -> str:
        return Path(self._folder.name, "log").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL granian and its web processes."""
        assert self.process is not None
        for pid in (*descendants(self.process.pid), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        _stop(self.process)
        self._folder.cleanup()

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.client(timeout_s=5).get(path).status == 200
        return False


class Worker:
    """One `loopwise worker` and one `loopwise beat`."""

    def __init__(self, database_url: str, redis_url: str, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="loopwise-worker-")
        self._environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LOOPWISE_SECRET_KEY": SECRET,
            "LOOPWISE_BEAT_INTERVAL_S": "0.5",
            "LOOPWISE_METRICS_DIR": f"{self._folder.name}/metrics",
            **environment,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *roles: str) -> "Worker":
        """Start the worker, the clock, or both. Tests wait for their results, not for the start."""
        for role in roles or ("worker", "beat"):
            self.processes[role] = _launch([role], self._folder.name, self._environment)
        return self

    def start_with(self, role: str, *options: str) -> None:
        """Start a role with options."""
        self.processes[role] = _launch([role, *options], self._folder.name, self._environment)

    def kill(self, role: str = "worker") -> None:
        """SIGKILL a role and its children."""
        process = self.processes.pop(role)
        for pid in (*descendants(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(10)

    def log(self) -> str:
        return Path(self._folder.name, "log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        for process in self.processes.values():
            _stop(process)
        self._folder.cleanup()


def _launch(
    arguments: list[str], folder: str, environment: dict[str, str], module: str = "app.commands"
) -> "subprocess.Popen[bytes]":
    ours = ("DATABASE_URL", "REDIS_URL", "LOOPWISE_", "PROMETHEUS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with Path(folder, "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments, "--data-dir", f"{folder}/none"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(ROOT), **environment},
            start_new_session=True,
        )


def _stop(process: "subprocess.Popen[bytes] | None") -> None:
    if process is None or process.poll() is not None:
        return
    below = descendants(process.pid)
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        for pid in (*below, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(10)


def descendants(pid: int) -> list[int]:
    """Pids of all descendants of a process."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    pids = [pid]
    for parent in pids:  # the list grows during the loop
        pids += [child for child, its_parent in parents.items() if its_parent == parent]
    return pids[1:]


@contextlib.contextmanager
def running_web(database_url: str, *, front: str = "loop", **environment: str) -> Iterator[Web]:
    """A web server for the duration of a block; fails if any request caused a server error."""
    web = Web(database_url, front=front, **environment)
    try:
        yield web.start()
        failed = web.log().partition("request_failed")
        assert not failed[1], failed[0][-500:] + failed[1] + failed[2][:6000]
    finally:
        web.stop()


@contextlib.contextmanager
def running_worker(database_url: str, redis_url: str, **environment: str) -> Iterator[Worker]:
    """A worker and its clock for the duration of a block."""
    worker = Worker(database_url, redis_url, **environment)
    try:
        yield worker.start()
    finally:
        worker.stop()


def make_key(database_url: str, *scopes: str, experiment: str | None = None, test: bool = False) -> str:
    """A new API key; by default with every scope except admin."""
    from app.accounts.keys import create_key

    with engine_of(database_url) as engine:
        return create_key(
            engine, scopes=scopes or SCOPES, experiment_key=experiment, name="test", test=test
        ).secret_text


def loopwise(folder: Path, database_url: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line in a folder, as a user does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOOPWISE_", "REDIS_URL"))}
    environment = {"DATABASE_URL": database_url, "LOOPWISE_SECRET_KEY": SECRET, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-P", "-m", "app.commands", *arguments]
    return subprocess.run(
        command, check=False, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, timeout=120
    )


@contextlib.contextmanager
def engine_of(database_url: str) -> Iterator[Any]:
    """An engine for services in this process."""
    from app.foundation.store.engine import create

    engine = create(database_url, settings(database_url))
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def runtime_of(database_url: str, **environment: str) -> Iterator[Any]:
    """A serving process's runtime inside this process."""
    import psycopg2.extensions

    from app.deciding.runtime import start

    runtime = start(settings(database_url, **environment))
    try:
        yield runtime
    finally:
        runtime.stop()
        psycopg2.extensions.set_wait_callback(None)  # the deadline is the process's, and other tests need a longer one


class Loop:
    """The loop's services in this process: define, decide, reward, learn; salts and ids are the same in every run."""

    def __init__(self, runtime: Any, database_url: str) -> None:
        from app.accounts.keys import Caller

        self.runtime = runtime
        self.database_url = database_url
        self.settings = settings(database_url)
        self.caller = Caller("lw_test", frozenset(SCOPES), None)
        self._numbers: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)

    def make(self, key: str, **fields: Any) -> int:
        """A running experiment, whose salt comes from its key, and whose rule waits for no day; returns its id."""
        from app.design import experiments

        fields["decision_rule"] = {"min_days": 0.0} | fields.get("decision_rule", {})

        salt = hashlib.sha256(key.encode()).digest()
        with patch("app.design.experiments.secrets.token_bytes", lambda _: salt):
            made = experiments.create(self.runtime.engine, self.settings, definition(key, **fields), "test")
        experiments.move(self.runtime.engine, key, "start", "test")
        self.runtime.snapshots.refresh()
        return int(made.id)

    def decide(self, key: str, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Decisions in one commit."""
        from app.deciding import decide
        from app.deciding.requests import DecideRequest, identify

        asked = []
        for number, body in enumerate(bodies):
            id = f"{key}-{next(self._numbers[key])}"
            whole = {"experiment": key, "unit_id": f"unit-{number}", "decision_id": id, **body}
            asked.append(identify(DecideRequest.model_validate(whole), whole))
        return [decision.answer for decision in decide.decide(self.runtime, self.caller, asked)]

    def reward(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rewards in one commit."""
        from app.learning import rewards
        from app.learning.reward_request import RewardRequest

        requests = [RewardRequest.model_validate(event) for event in events]
        return [receipt.answer for receipt in rewards.reward(self.runtime, self.caller, requests)]

    def close_windows(self, experiment_id: int) -> None:
        """Move the end of every open window of an experiment into the past, instead of waiting for it."""
        past = "least(closes_at, clock_timestamp() - interval '1 second')"
        query(
            self.database_url,
            f"UPDATE decisions SET closes_at = {past} WHERE closes_at IS NOT NULL AND experiment_id = %s",
            experiment_id,
        )
        query(
            self.database_url, f"UPDATE awaiting_outcome SET closes_at = {past} WHERE experiment_id = %s", experiment_id
        )

    def await_windows(self, experiment_id: int) -> None:
        """Wait until every open window of an experiment has closed by itself."""
        still = "SELECT count(*) FROM awaiting_outcome WHERE experiment_id = %s AND closes_at > clock_timestamp()"
        wait_for(lambda: query(self.database_url, still, experiment_id) == [(0,)], 10, "the windows' end")

    def train(self, experiment_id: int, arm: str = "learned", **environment: str) -> Any:
        """One round."""
        from app.learning.training import train_round

        return train_round(self.runtime.engine, settings(self.database_url, **environment), experiment_id, arm)

    def learn(self, key: str, count: int = 40, best: str = "b") -> int:
        """An experiment whose model has learned that one action pays; returns its id."""
        experiment_id = self.make(key, arms=bandit())
        self.more(key, experiment_id, count, best)
        return experiment_id

    def more(self, key: str, experiment_id: int, count: int = 40, best: str = "b") -> Any:
        """Another round of an experiment."""
        decided = self.decide(key, [{"context": {"n": n % 5}} for n in range(count)])
        self.reward(
            [
                {"decision_id": decision["decision_id"], "value": float(decision["action"]["id"] == best)}
                for decision in decided
            ]
        )
        self.close_windows(experiment_id)
        done = self.train(experiment_id)
        self.runtime.snapshots.refresh()
        return done

    def audit(self, key: str) -> Any:
        from app.verification.audit import audit_experiment

        return audit_experiment(self.runtime.engine, self.settings, key)
