"""`loopwise up`: start all processes of Loopwise on this machine in order, supervise them, and stop them in order.

It must never leave a process behind, never need a clean-up after a kill, and never store data of its own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

import app
from app.commands.shared import answers
from app.embedded import locate, process, secret
from app.embedded.children import Child
from app.embedded.errors import ServerError
from app.embedded.postgres import PostgresServer
from app.embedded.redis import RedisServer
from app.embedded.state import DataDir, Running
from app.embedded.upkeep import Upkeep
from app.foundation.settings import from_environment, signing

_READY_DEADLINE_S = 90.0
_POLL_S = 0.1


class _Stopped(Exception):
    """A signal arrived during the start."""


def run(data_dir: DataDir, host: str, port: int, *, demo: bool) -> int:
    """Start everything and stay until SIGINT, SIGTERM or SIGHUP. Returns the exit code.

    :raises ServerError: a process does not start; all others are stopped.
    """
    data_dir.prepare()
    lock = data_dir.lock()
    supervisor = Supervisor(data_dir, host, port)
    try:
        supervisor.start()
        if demo:
            supervisor.play_demo()
        supervisor.watch()
    except _Stopped:
        return 0  # a stop on request is a success
    finally:
        supervisor.stop()
        os.close(lock)
    return 0


class Supervisor:
    """The children of one `up`, in the order in which they start."""

    def __init__(self, data_dir: DataDir, host: str, port: int) -> None:
        self._data_dir = data_dir
        self._host = host
        self._port = port or process.free_port(host)
        self._children: list[Child] = []
        self._environment = _child_environment(os.environ)
        self._stopping = False
        self._silent = False
        self._demo: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    @property
    def url(self) -> str:
        """The address of the web server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)  # noqa: S104 - it is replaced, not listened on
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Start everything and print each step.

        :raises ServerError: a process does not start; the error has the end of its log.
        """
        started = time.monotonic()
        from_environment(self._environment)  # report a wrong setting here, not in the log of each child
        process.check_port(self._host, self._port)
        self._step("postgres", self._start_postgres)
        self._step("redis", self._start_redis)
        if not self._environment.get("LOOPWISE_SECRET_KEY"):
            self._environment["LOOPWISE_SECRET_KEY"] = self._data_dir.read_secret_key()
        signing(from_environment(self._environment))  # a file may hold anything, or nothing
        self._step("migrations", self._migrate)
        self._step("admin key", self._write_admin_key)
        self._step("processes", self._start_roles)
        self._step("web", self._await_web)
        database_url, redis_url = self._environment["DATABASE_URL"], self._environment["REDIS_URL"]
        self._data_dir.announce(Running(os.getpid(), self.url, database_url, redis_url))
        self._say(f"{'started in':<64}{time.monotonic() - started:7.2f} s")
        link = self._first_admin_link()
        self._say(f"ready: {self.url}")
        if link:
            self._say(f"sign in for the first time (works once): {link}")

    def play_demo(self) -> None:
        """Start the demo on this terminal. If it ends, it is not restarted."""
        self._demo = process.spawn(
            [*_loopwise(), "demo", "--if-new", "--data-dir", self._data_dir.path], environment=self._environment
        )

    def watch(self) -> None:
        """Restart processes that end, end those that are frozen, and look after logs and disk, until a signal arrives."""
        upkeep = Upkeep(
            self._data_dir.path,
            self._data_dir.logs,
            self._children,
            partial(answers, f"{self.url}/healthz"),
            self._say,
        )
        while not self._stopping:
            for child in self._children:
                child.heal(self._say)
            upkeep.look()
            if self._demo is not None and self._demo.poll() is not None:
                if self._demo.returncode != 0:
                    self._say(f"the demo ended with exit code {self._demo.returncode}; `loopwise demo` repeats it")
                self._demo = None
                self._say("Everything keeps running; Ctrl-C stops it.")
                link = self._first_admin_link()  # the last line, where it is found again after the demo's tables
                self._say(f"sign in for the first time (works once): {link}" if link else f"pages: {self.url}/admin/")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop all children, in the reverse order of their start. A second signal kills them at once."""
        started = time.monotonic()
        self._stopping = True
        self._data_dir.runtime.unlink(missing_ok=True)
        if self._demo is not None:
            process.stop(self._demo, signal.SIGINT, 3)  # lets its progress bar restore the cursor
        for child in reversed(self._children):
            child.stop()
        if self._children:
            self._say(f"stopped in {time.monotonic() - started:.2f} s")

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._stopping:
            for child in self._children:
                child.kill()
            os._exit(128 + number)
        self._stopping = True

    def _say(self, text: str) -> None:
        if not self._silent:
            try:
                click.echo(text)
            except OSError:  # the terminal is closed, but the children still have to be stopped
                self._silent = True

    def _step(self, name: str, action: Callable[[], str]) -> None:
        if self._stopping:
            raise _Stopped
        started = time.monotonic()
        detail = action()
        self._say(f"{name:<12}{detail:<52}{time.monotonic() - started:7.2f} s")

    def _add(self, child: Child) -> None:
        self._children.append(child)
        child.start()

    def _start_postgres(self) -> str:
        url = self._environment.get("DATABASE_URL", "")
        if url:
            return f"{locate.check_database(url)} at {locate.without_password(url)}"
        server = PostgresServer(self._data_dir.path, self._data_dir.log("postgres"))
        self._add(Child("postgres", server.start, lambda: server.process, signal.SIGINT, 15))
        self._environment["DATABASE_URL"] = server.url()
        return f"{server.version} on 127.0.0.1:{server.port}"

    def _start_redis(self) -> str:
        url = self._environment.get("REDIS_URL", "")
        if url:
            return f"{locate.check_redis(url)} at {locate.without_password(url)}"
        server = RedisServer(self._data_dir.path, self._data_dir.log("redis"))
        self._add(Child("redis", server.start, lambda: server.process, signal.SIGTERM, 10))
        self._environment["REDIS_URL"] = server.url()
        return f"on 127.0.0.1:{server.port}"

    def _migrate(self) -> str:
        from app.foundation.store.migrate import upgrade

        upgrade(self._environment["DATABASE_URL"])
        return "newest schema"

    def _write_admin_key(self) -> str:
        from app.accounts import keys
        from app.foundation.store.engine import create

        engine = create(self._environment["DATABASE_URL"], from_environment(self._environment))
        try:
            key = keys.ensure_admin_key(engine)
        finally:
            engine.dispose()
        if key is not None:
            secret.write(self._data_dir.admin_key, key.secret_text)
        elif not self._data_dir.admin_key.exists():
            return "made elsewhere; `loopwise keys create` makes another"
        return _short(self._data_dir.admin_key)

    def _first_admin_link(self) -> str:
        """Return the link at which the first person becomes administrator; empty if there already is an administrator."""
        from app.accounts import users
        from app.foundation.store.engine import create

        settings = from_environment(self._environment)
        engine = create(settings.database_url, settings)
        try:
            token = users.first_admin_link(engine)
        finally:
            engine.dispose()
        return "" if token is None else f"{settings.public_url.rstrip('/') or self.url}/admin/link/{token}"

    def _start_roles(self) -> str:
        beat = ["beat", "--data-dir", str(self._data_dir.path)]
        web = ["web", "--host", self._host, "--port", str(self._port), "--data-dir", str(self._data_dir.path)]
        for name, arguments, deadline_s in (
            ("web", web, 6.0),
            ("worker", ["worker", "--data-dir", str(self._data_dir.path)], 10.0),
            ("beat", beat, 3.0),
        ):
            self._add(self._role(name, arguments, deadline_s))
        return f"web, worker, beat; logs in {_short(self._data_dir.logs)}"

    def _role(self, name: str, arguments: list[str], deadline_s: float) -> Child:
        environment = {**self._environment, "LOOPWISE_METRICS_DIR": str(self._data_dir.path / "metrics")}
        running: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            log = self._data_dir.log(name)
            running[:] = [process.spawn([*_loopwise(), *arguments], log=log, environment=environment)]

        return Child(name, start, lambda: running[0] if running else None, signal.SIGTERM, deadline_s)

    def _await_web(self) -> str:
        """Wait until /readyz answers.

        :raises ServerError: a child ends, or the deadline passes.
        """
        end = time.monotonic() + _READY_DEADLINE_S
        while not answers(f"{self.url}/readyz"):
            if self._stopping:
                raise _Stopped
            ended = next((child.name for child in self._children if not child.alive()), None)
            if ended is None and time.monotonic() > end:
                ended = "web"
            if ended is not None:
                raise ServerError(f"{ended} did not start:\n{process.log_tail(self._data_dir.log(ended))}")
            time.sleep(0.05)
        return f"answers at {self.url}"


def _loopwise() -> list[str]:
    return [sys.executable, "-P", "-m", "app.commands"]  # -P: the working directory may hold another `app`


def _child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with the path of this code, so that a child finds it from any working directory."""
    root = str(Path(app.__file__).resolve().parents[1])
    paths = [root, *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
