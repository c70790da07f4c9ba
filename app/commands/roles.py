"""Run one role in this process: the web server, the Celery worker, or beat. Deployments and `loopwise up` use these.

This module must never open a database connection, because granian and Celery fork after it has run.
"""

import contextlib
import importlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from app.embedded.process import claimed_port, die_with_parent
from app.foundation.running import logs
from app.foundation.settings import Settings
from app.web import metrics_server

WEB_TARGET = "app.web.front.create:create_front"


def run_web(settings: Settings, host: str, port: int, target: str = WEB_TARGET, *, wsgi: bool = False) -> None:
    """Serve HTTP until a signal arrives. After SIGTERM or SIGINT, accepted requests are answered first.

    :param wsgi: True: ``target`` makes a WSGI app, whose requests wait in threads; for comparisons.
    :raises ServerError: the port is taken.
    """
    logs.configure(settings.log_level)
    with claimed_port(host, port), _shared_metrics("web", settings):
        from app.commands.web_server import serve

        serve(settings, host, port, target, wsgi=wsgi)


def run_worker(settings: Settings, concurrency: int, metrics_at: tuple[str, int] | None = None) -> None:
    """Run Celery's worker until a signal arrives. SIGTERM lets the running task finish.

    :param metrics_at: where to answer ``GET /metrics`` with the worker's counters; null: nowhere.
    """
    from celery.apps import worker as celery_worker
    from celery.signals import worker_process_init

    # It prints past every logger.
    celery_worker.safe_say = lambda text, *_: logging.getLogger("celery").info(text)  # type: ignore[attr-defined]
    worker_process_init.connect(_follow_parent, weak=False)
    arguments = [f"--concurrency={concurrency}", f"--loglevel={settings.log_level}"]
    answering = metrics_server.answering("worker", *metrics_at, settings.metrics_token) if metrics_at else nullcontext()
    with _shared_metrics("worker", settings), answering:
        _celery().worker_main(["--quiet", "worker", *arguments, "--without-gossip", "--without-mingle"])


def run_beat(settings: Settings) -> None:
    """Run Celery's clock until a signal arrives. It has its times in memory; an extra or a missing wake-up does no harm."""
    _celery().start(["--quiet", "beat", "--scheduler=celery.beat:Scheduler", f"--loglevel={settings.log_level}"])


def _celery() -> Any:
    return importlib.import_module("worker.celery_app").app


def _follow_parent(**_: object) -> None:
    die_with_parent(signal.SIGKILL)


@contextlib.contextmanager
def _shared_metrics(role: str, settings: Settings) -> Iterator[None]:
    """Empty this role's folder among those of the metrics, and set it for prometheus-client.

    Files of old processes would be counted for ever.

    Call this before the first import of prometheus_client, which reads the variable then.
    """
    every = Path(settings.metrics_dir or tempfile.mkdtemp(prefix=f"loopwise-metrics-{role}-"))
    folder = every / role
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in folder.glob("*.db"):
        stale.unlink(missing_ok=True)
    os.environ["LOOPWISE_METRICS_DIR"], os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(every), str(folder)
    try:
        yield
    finally:
        if not settings.metrics_dir:
            shutil.rmtree(every, ignore_errors=True)
