"""Idle connections are closed when places run out, those idle for longest first, and never one that serves a request."""

import contextlib
import os
import socket
import time
from math import ceil

from app.web.front.connections import FULL_SHARE, Connections

BUSY, MORE = 5, 30


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _ended(client: socket.socket) -> bool:
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return client.recv(1) == b""
    return False


def test_the_connections_idle_for_longest_are_closed_when_places_run_out() -> None:
    quiet = 40 + len(os.listdir("/proc/self/fd")) // 4  # more than are closed, however many files this process has
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        address = server.getsockname()
        clients = []
        for _ in range(BUSY + quiet + MORE):
            clients.append(opened.enter_context(socket.create_connection(address)))
            opened.enter_context(server.accept()[0])
        connections = Connections()
        for client in clients[:BUSY]:
            connections.begin(_text(client.getsockname()), _text(address))
        time.sleep(0.1)
        for client in clients[BUSY + quiet :]:
            client.sendall(b"G")
        connections._most = ceil(len(os.listdir("/proc/self/fd")) / FULL_SHARE) + 10
        connections._turn()
        assert not connections.ending and not any(map(_ended, clients))
        reader, writer = os.pipe()
        connections._most -= 20
        connections._turn()
        assert connections.ending
        closed = [number for number, client in enumerate(clients) if _ended(client)]
        assert closed and set(closed) <= set(range(BUSY, BUSY + quiet))
        os.close(writer)
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b"", "looking at a pipe kept a copy of it open"
        os.close(reader)
