"""Run the demo against a running installation. The demo itself (app.demo) gets only an address and an API key."""

import contextlib
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import click

from app import demo
from app.demo import fairness, guardian, messages
from app.embedded.errors import ServerError
from app.embedded.locate import servers
from app.embedded.state import DataDir
from app.foundation.store.engine import create
from app.verification import standing_audit
from app.verification.audit_report import AuditReport


def play(data_dir: DataDir, url: str | None, key: str | None, *, only_new: bool) -> None:
    """Run the demo, and audit it at its end if the database can be reached from here.

    :param url: the address of the web server; None: that of the running `up`.
    :param key: an administrator's API key; None: the key in the data directory.
    :param only_new: True: do nothing if the demo experiment already exists.
    :raises ServerError: there is no server or no key, or the demo failed.
    """
    url = url or _url(data_dir)
    key = key or _admin_key(data_dir)
    if only_new and _exists(url, key, demo.EXPERIMENT_KEY):
        click.echo(f"The demo ran before: experiment {demo.EXPERIMENT_KEY!r}. `loopwise demo` shows its tables again.")
        return
    try:
        with _audit(data_dir, url) as audit:
            demo.run(url, key, sys.stdout, audit)
    except demo.DemoFailed as error:
        raise ServerError(f"the demo stopped: {error}") from error


def play_messages(data_dir: DataDir, url: str | None, key: str | None) -> None:
    """Run the demo of messages. If `up` runs here, kill the worker in the middle of the demo, and audit it at the end.

    :raises ServerError: there is no server or no key, or the demo failed.
    """
    url = url or _url(data_dir)
    key = key or _admin_key(data_dir)
    running = data_dir.running()
    local = running is not None and running.url == url
    try:
        with _audits(data_dir, url) as audit:
            messages.run(url, key, sys.stdout, disturb=_kill_worker(data_dir) if local else None, audit=audit)
    except demo.DemoFailed as error:
        raise ServerError(f"the demo stopped: {error}") from error


COURSES: Mapping[str, Callable[[str, str, TextIO], object]] = {
    "guardian": guardian.run,
    "fairness": fairness.run,
}  # demos that need only a server and a key


def play_course(name: str, data_dir: DataDir, url: str | None, key: str | None) -> None:
    """Run one of ``COURSES``.

    :raises ServerError: there is no server or no key, or the demo failed.
    """
    try:
        COURSES[name](url or _url(data_dir), key or _admin_key(data_dir), sys.stdout)
    except demo.DemoFailed as error:
        raise ServerError(f"the demo stopped: {error}") from error


@contextlib.contextmanager
def _audit(data_dir: DataDir, url: str) -> Iterator[Callable[[], AuditReport] | None]:
    with _audits(data_dir, url) as audit:
        yield None if audit is None else lambda: audit(demo.EXPERIMENT_KEY)


@contextlib.contextmanager
def _audits(data_dir: DataDir, url: str) -> Iterator[Callable[[str], AuditReport] | None]:
    """Yield a function that audits an experiment, or None if ``url`` is not the server of this data directory."""
    running = data_dir.running()
    if running is None or running.url != url:
        yield None
        return
    with servers(data_dir, start=False) as settings:
        engine = create(settings.database_url, settings)
        try:
            yield lambda experiment: standing_audit.run_whole(engine, settings, experiment)
        finally:
            engine.dispose()


def _kill_worker(data_dir: DataDir) -> Callable[[], str] | None:
    """Return a function that kills the worker of `up`, which then restarts it; None if there is no /proc to find it."""
    running = data_dir.running()
    if running is None or not Path("/proc/self/cmdline").exists():
        return None

    def kill() -> str:
        # Compare the whole command line, because PostgreSQL also has processes that are called workers.
        workers = [
            pid for pid in _below(running.pid) if {b"app.commands", b"worker"} <= set(_command(pid).split(b"\0"))
        ]
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return f"the worker was killed (SIGKILL to {len(workers)} processes); `up` started it again"

    return kill


def _below(pid: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    family = [pid]
    for parent in family:  # the list grows during the loop
        family += [child for child, its_parent in parents.items() if its_parent == parent]
    return family[1:]


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _url(data_dir: DataDir) -> str:
    running = data_dir.running()
    if running is None:
        raise ServerError(f"no `loopwise up` runs on {data_dir.path}; start it first, or give --url and --key.")
    return running.url


def _admin_key(data_dir: DataDir) -> str:
    try:
        return data_dir.admin_key.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ServerError(f"there is no {data_dir.admin_key}; give an administrator's key with --key.") from None


def _exists(url: str, key: str, experiment: str) -> bool:
    address = f"{url}/v1/experiments/{experiment}"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise ServerError(f"{url} answered {error.code} {error.reason}.") from error
    except OSError as error:
        raise ServerError(f"{url} does not answer: {error}") from error
    return True
