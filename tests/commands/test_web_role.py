"""`loopwise web` alone, with a test application."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.embedded.process import free_port
from tests.commands.installation import ROOT, wait_for
from tests.service import SECRET

pytestmark = pytest.mark.slow


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_after_sigterm_accepted_requests_are_answered_and_the_server_ends_within_five_seconds(tmp_path: Path) -> None:
    port = free_port()
    stale = tmp_path / "counter_1.db"
    stale.touch()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
        "LOOPWISE_SECRET_KEY": SECRET,
        "LOOPWISE_METRICS_DIR": str(tmp_path),
    }
    command = [
        "web",
        "--port",
        str(port),
        "--target",
        "tests.commands.slow_app:create_app",
        "--data-dir",
        str(tmp_path),
    ]
    server = subprocess.Popen([sys.executable, "-m", "app.commands", *command], env=environment, cwd="/")
    try:
        wait_for(lambda: _listens(port), 30)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            time.sleep(0.5)  # accepted, not yet answered
            server.send_signal(signal.SIGTERM)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.wait(5) == 0
        assert not stale.exists()  # counters of an earlier run would be added to this one's for ever
    finally:
        server.kill()
        server.wait(5)
