"""Run one role in this process: the web server, the Celery worker, or beat. Deployments and `loopwise up` use these.

This module must never open a database connection, because granian and Celery fork after it has run.
"""

import contextlib
import gc
import importlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from app.embedded.process import claimed_port, die_with_parent
from app.foundation.running import logs
from app.foundation.settings import Settings

WEB_TARGET = "app.web.app:create_app"
_WEB_STOP_S = 4  # a web process whose last requests take longer than this is killed


def run_web(settings: Settings, host: str, port: int, target: str = WEB_TARGET) -> None:
    """Serve HTTP until a signal arrives. After SIGTERM or SIGINT, accepted requests are answered first.

    :raises ServerError: the port is taken.
    """
    logs.configure(settings.log_level)
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels

    server = Granian(
        target,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        http=HTTPModes.http1,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_WEB_STOP_S,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=logs.of_granian(),
    )
    with claimed_port(host, port), _shared_metrics("web", settings):
        server.serve(target_loader=partial(_load_factory, os.getpid()))


def _load_factory(parent: int, target: str) -> Any:
    """Build the application in a web process. It must not outlive granian's main process, because it would keep the port."""
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)
    module, _, factory = target.partition(":")
    app = getattr(importlib.import_module(module), factory)()
    # These objects live as long as the process, so the cycle collector need not scan them after each large batch.
    gc.collect()
    gc.freeze()
    return app


def run_worker(settings: Settings, concurrency: int) -> None:
    """Run Celery's worker until a signal arrives. SIGTERM lets the running task finish."""
    from celery.apps import worker as celery_worker
    from celery.signals import worker_process_init

    # It prints past every logger.
    celery_worker.safe_say = lambda text, *_: logging.getLogger("celery").info(text)  # type: ignore[attr-defined]
    worker_process_init.connect(_follow_parent, weak=False)
    arguments = [f"--concurrency={concurrency}", f"--loglevel={settings.log_level}"]
    with _shared_metrics("worker", settings):
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
    """Empty this role's metrics folder and set it for prometheus-client. Files of old processes would be counted for ever.

    Call this before the first import of prometheus_client, which reads the variable then.
    """
    folder = Path(settings.metrics_dir or tempfile.mkdtemp(prefix=f"loopwise-metrics-{role}-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in folder.glob("*.db"):
        stale.unlink(missing_ok=True)
    os.environ["LOOPWISE_METRICS_DIR"] = os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    try:
        yield
    finally:
        if not settings.metrics_dir:
            shutil.rmtree(folder, ignore_errors=True)
