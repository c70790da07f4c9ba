"""A disk that is full for a moment: nothing dies of a log line or of a counter, and decisions go on when there is room."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.process import LOG_BYTES, free_port, rotate
from app.foundation.running import disk
from tests.faults.cluster import Cluster
from tests.service import ROOT, SECRET, Client, make_key, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 2 MB."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("needs the right to mount a small disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def _web(url: str, folder: Path) -> Iterator[tuple[Client, "subprocess.Popen[bytes]"]]:
    """A web server with its log and its counters on the small disk."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": url, "LOOPWISE_SECRET_KEY": SECRET,
        "LOOPWISE_METRICS_DIR": str(folder / "metrics"), "LOOPWISE_ACCESS_LOG": "1", "LOOPWISE_DECIDE_DEADLINE_S": "0.5",
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "app.commands", "web", "--port", str(port), "--data-dir", "/nowhere"]
    with (folder / "web.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        client = Client(port, make_key(url))

        def ready() -> bool:
            with contextlib.suppress(OSError):
                return client.get("/readyz").status == 200
            return False

        wait_for(ready, 60, "the web server")
        yield client, process
    finally:
        process.terminate()
        process.wait(15)


def test_a_full_disk_under_logs_and_counters_kills_no_thread_and_no_process(
    cluster: Cluster, durable_url: str, small: Path
) -> None:
    with _web(durable_url, small) as (client, process):
        client.make("full")
        assert client.decide("full").status == 201
        children = _children(process.pid)
        filler = small / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        cluster.kill()  # the writer logs that it cannot store
        assert client.decide("full").status == 503
        cluster.server.start()
        wait_for(lambda: client.decide("full").status == 201, 20, "decisions while the disk is full")
        for number in range(300):  # new counters need room that there is not
            client.make(f"full-{number}", start=False) if number < 3 else client.get(f"/nowhere/{number}")
        for number in range(3):
            assert client.post(f"/v1/experiments/full-{number}/start").status == 200
            wait_for(lambda number=number: client.decide(f"full-{number}").status == 201, 10)
        assert client.get("/readyz").status == 200
        filler.unlink()
        assert client.decide("full").status == 201
        assert _children(process.pid) == children  # the same processes

        def told() -> bool:  # by whichever process answers next, of those that lost lines
            client.get("/nowhere")
            return "lost_lines" in (small / "web.log").read_text(encoding="utf-8", errors="replace")

        wait_for(told, 10, "the number of lost lines")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_a_log_is_rotated_while_its_writer_goes_on_and_on_a_full_disk_is_emptied(small: Path, tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(writer, b"x" * (LOG_BYTES + 1))
    rotate(log)
    os.write(writer, b"next\n")
    os.close(writer)
    assert log.read_bytes() == b"next\n"
    assert (tmp_path / "web.log.1").stat().st_size == LOG_BYTES + 1
    assert (tmp_path / "web.log.1").stat().st_mode & 0o077 == 0


def test_a_disk_is_low_before_it_is_full(small: Path) -> None:
    assert not disk.of(str(small)).low
    (small / "filler").write_bytes(b"x" * 1_700_000)
    space = disk.of(str(small))
    assert space.low
    assert 0 < space.free < space.total / 4
    assert not disk.Disk(60_000_000_000, 1_000_000_000_000).low
    assert disk.Disk(40_000_000_000, 1_000_000_000_000).low
    assert disk.Disk(900_000_000, 10_000_000_000).low
