"""The connections of one process: thousands may be idle, and the ones idle for longest are closed when places run out.

Granian holds them and closes one that has been idle for long, but not one earlier because others want its place. So this module
counts the process's sockets. When they are many, answers end their connections, and sockets that serve no request are shut
down: as to a client, that is a keep-alive connection that ended.
"""

import asyncio
import os
import resource
import socket
import struct
import time
from typing import Final

import structlog

from app.foundation.running.threads import Background

PLACES: Final = 16_384  # connections of one process, if it may open so many files
OTHER_FILES: Final = 512  # of a process, beside its connections
FULL_SHARE: Final = 0.75  # of the places: from here on, idle ones are closed
AIM_SHARE: Final = 0.65
LOOK_S: Final = 0.5
STUCK_S: Final = 60.0
_TCP_INFO_BYTES: Final = 104
_LAST_RECEIVED: Final = slice(52, 56)  # of struct tcp_info: milliseconds since data came last (linux/tcp.h)

log = structlog.get_logger()


def places() -> int:
    """How many connections a process may hold; raises its limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = PLACES + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(128, min(PLACES, soft - OTHER_FILES))


class Connections:
    """Which connections serve a request now, and whether there are too many."""

    def __init__(self) -> None:
        self._most = places()
        self._active: dict[str, int] = {}  # requests by "address:port" of their clients
        self._stopped = False
        self._port = 0  # of this server; 0: no request has come yet
        self._full = False
        self._draining = False

    def start(self, _loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look after the idle ones."""
        if os.path.isdir("/proc/self/fd") and hasattr(socket, "TCP_INFO"):
            Background("connections", self._turn, STUCK_S).start()

    def close(self) -> None:
        """End the looking."""
        self._stopped = True

    def begin(self, client: str, server: str) -> None:
        """A request has come from a client to an address of this server."""
        if not self._port:
            self._port = int(server.rpartition(":")[2])
        self._active[client] = self._active.get(client, 0) + 1

    def end(self, client: str) -> None:
        """A request was answered."""
        left = self._active.pop(client, 1) - 1
        if left > 0:
            self._active[client] = left

    def drain(self) -> None:
        """From now on every answer ends its connection: the process is about to stop."""
        self._draining = True

    @property
    def ending(self) -> bool:
        """True: answers end their connections."""
        return self._full or self._draining

    def _turn(self) -> bool:
        time.sleep(LOOK_S)
        names = os.listdir("/proc/self/fd")
        self._full = len(names) > FULL_SHARE * self._most
        if self._full:
            closed = self._close_idle(names, len(names) - int(AIM_SHARE * self._most))
            log.warning("connections_full", open=len(names), closed=closed)
        return not self._stopped

    def _close_idle(self, names: list[str], most: int) -> int:
        idle = []
        for name in names:
            try:
                waited_ms, peer = _idle(int(name), self._port)
            except OSError:
                continue  # no connection, or closed meanwhile
            if peer not in self._active:
                idle.append((waited_ms, int(name), peer))
        idle.sort(reverse=True)
        closed = 0
        for _, descriptor, peer in idle[:most]:
            closed += peer not in self._active and _shut(descriptor, peer)
        return closed


def _copy(descriptor: int) -> socket.socket:
    """A socket object of its own for a file of this process.

    :raises OSError: it is no socket, or closed. Nothing stays open then: a copy of a pipe would keep its reader waiting.
    """
    copied = os.dup(descriptor)
    try:
        return socket.socket(fileno=copied)
    except OSError:
        os.close(copied)
        raise


def _idle(descriptor: int, port: int) -> tuple[int, str]:
    """Milliseconds since data came, and the peer, of a connection to this server.

    :raises OSError: it is none; the process has others, to the database for one.
    """
    with _copy(descriptor) as copy:
        if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.getsockname()[1] != port:
            raise OSError
        info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        (waited_ms,) = struct.unpack("I", info[_LAST_RECEIVED])
        return waited_ms, _text(copy.getpeername())


def _shut(descriptor: int, peer: str) -> bool:
    try:
        with _copy(descriptor) as copy:
            if _text(copy.getpeername()) != peer:  # the number was given to another connection meanwhile
                return False
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    return True


def _text(address: tuple[object, ...]) -> str:
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
