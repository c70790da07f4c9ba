"""Starts the demo against a running installation. The demo itself is in app.demo and knows only an address and a key."""

import sys
import urllib.error
import urllib.request

import click

from app.embedded.errors import ServerError
from app.embedded.locate import servers
from app.embedded.state import DataDir
from app.services.audit import AuditReport, audit_experiment
from app.store.engine import create


def play(data_dir: DataDir, url: str | None, key: str | None, *, only_new: bool) -> None:
    """Run the demo.

    :param url: None: the web server of the running `up`.
    :param key: None: the administrator's key in the data directory.
    :param only_new: do nothing when the demo experiment exists already.
    :raises ServerError: when no server or no key is known.
    """
    url = url or _url(data_dir)
    key = key or _admin_key(data_dir)
    from app import demo

    if only_new and _exists(url, key, demo.EXPERIMENT_KEY):
        click.echo(f"The demo ran before: experiment {demo.EXPERIMENT_KEY!r}. `loopwise demo` continues it.")
        return
    demo.run(url, key, sys.stdout, lambda: _audit(data_dir, demo.EXPERIMENT_KEY))


def _audit(data_dir: DataDir, experiment: str) -> AuditReport:
    with servers(data_dir) as settings:
        engine = create(settings.database_url, settings)
        try:
            return audit_experiment(engine, settings, experiment)
        finally:
            engine.dispose()


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
    request = urllib.request.Request(f"{url}/v1/experiments/{experiment}", headers={"Authorization": f"Bearer {key}"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise ServerError(f"{url} answered {error.code} {error.reason}.") from error
    except OSError as error:
        raise ServerError(f"{url} does not answer: {error}") from error
    return True
