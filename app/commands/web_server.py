"""Granian as Loopwise runs it: the parent keeps the socket open, and web processes are forked from it with all code loaded.

So a web process that dies or is replaced refuses no connection: those that come meanwhile wait in the socket's queue or are
taken by another process, and a new one is there in a fraction of a second.
"""

import gc
import importlib
import os
import signal
import socket
from functools import partial
from typing import Any, Final

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketSpec

from app.embedded.process import die_with_parent
from app.foundation.running import logs
from app.foundation.settings import Settings
from app.web.front.connections import places

STOP_S: Final = 4  # a web process whose last requests take longer than this is killed
IDLE_MS: Final = 60_000  # a connection without a request is closed after this
BACKLOG: Final = 4096  # connections that wait to be accepted


class WebServer(Granian):  # type: ignore[misc, valid-type]
    """Granian with one socket for all web processes, which lives as long as this process."""

    def _init_shared_socket(self) -> None:
        self._shd = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        self._sfd, self._ssp = self._shd.get_fd(), None
        self._sso = socket.socket(fileno=self._sfd)
        self._sso.set_inheritable(True)


def serve(settings: Settings, host: str, port: int, target: str, *, wsgi: bool) -> None:
    """Serve until a signal arrives. SIGHUP replaces the web processes one after the other.

    :param target: "module:factory" of the application; loaded before the processes are forked.
    """
    module, _, factory = target.partition(":")
    make = getattr(importlib.import_module(module), factory)
    gc.collect()
    gc.freeze()  # what all processes share is neither scanned nor copied
    server = WebServer(
        target,
        address=host,
        port=port,
        interface=Interfaces.WSGI if wsgi else Interfaces.RSGI,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads if wsgi else 1,
        backlog=BACKLOG,
        backpressure=places(),
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=logs.of_granian(),
    )
    server.serve(target_loader=partial(_in_process, os.getpid(), make), wrap_loader=False)


def _in_process(parent: int, make: Any) -> Any:
    """Build the application in a web process. It must not outlive the parent, because it would keep the port."""
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)
    app = make()
    # These objects live as long as the process, so the cycle collector need not scan them after each large batch.
    gc.collect()
    gc.freeze()
    return app
