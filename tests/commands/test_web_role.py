"""`loopwise web` alone, with a test application."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.embedded.errors import ServerError
from app.embedded.process import claimed_port, free_port
from tests.commands.installation import ROOT, wait_for
from tests.service import SECRET, Web

pytestmark = pytest.mark.slow


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_after_sigterm_accepted_requests_are_answered_and_the_server_ends_within_five_seconds(tmp_path: Path) -> None:
    port = free_port()
    stale, other = tmp_path / "web" / "counter_1.db", tmp_path / "worker" / "counter_1.db"
    for file in (stale, other):
        file.parent.mkdir()
        file.touch()
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
        assert other.exists(), "those of another role that may be running are kept"
    finally:
        server.kill()
        server.wait(5)


def _refusal(port: int, database_url: str, folder: Path, host: str = "127.0.0.1") -> str:
    environment = {"PYTHONPATH": str(ROOT), "DATABASE_URL": database_url, "LOOPWISE_SECRET_KEY": SECRET}
    command = ["web", "--host", host, "--port", str(port), "--data-dir", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "app.commands", *command],
        env=environment, capture_output=True, text=True, timeout=30, cwd="/", check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stdout == ""
    return ended.stderr


def test_a_second_web_server_on_a_port_is_refused_whatever_its_database(web: Web, tmp_path: Path) -> None:
    refusal = _refusal(web.port, "postgresql://nobody@127.0.0.1:1/another", tmp_path)
    assert refusal == f"Error: port {web.port} of 127.0.0.1 is in use; choose another one with --port.\n"
    assert "is in use" in _refusal(web.port, "postgresql://nobody@127.0.0.1:1/another", tmp_path, "0.0.0.0")  # noqa: S104
    assert web.client().get("/healthz").status == 200


def test_of_two_that_start_at_once_one_is_refused_before_either_listens() -> None:
    port = free_port()
    with claimed_port("127.0.0.1", port):
        with pytest.raises(ServerError, match="is in use"), claimed_port("127.0.0.1", port):
            pass
        with claimed_port("127.0.0.1", free_port()):
            pass
    with claimed_port("127.0.0.1", port):
        pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_here_is_not_called_a_taken_port(host: str, tmp_path: Path) -> None:
    refusal = _refusal(free_port(), "postgresql://nobody@127.0.0.1:1/none", tmp_path, host)
    assert "--host" in refusal
    assert "in use" not in refusal
    assert len(refusal.splitlines()) == 1
