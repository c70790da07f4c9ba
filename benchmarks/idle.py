"""Ten thousand clients that keep their connections open and say nothing: what do the others notice?"""

import contextlib
import resource
import socket
import time
from pathlib import Path
from typing import Final

from benchmarks import figures
from benchmarks.load import closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

CONNECTIONS: Final = 10_000
SECONDS: Final = 3.0
QUESTION: Final = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"


def measure(rig: Rig, rounds: int) -> None:
    """Print rate, latency and memory without and with the idle connections, and how many of them still answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CONNECTIONS, hard - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    requests = [rig.request("/v1/decide", workload.request("bench", number)) for number in range(4096)]
    before = [closed_loop(rig.port, requests, connections=32, seconds=SECONDS) for _ in range(rounds)]
    memory = _memory_mb(rig.web_pid)
    with contextlib.ExitStack() as stack:
        idle = []
        for _ in range(count):
            idle.append(stack.enter_context(socket.create_connection(("127.0.0.1", rig.port), 20)))
            idle[-1].sendall(QUESTION)
            idle[-1].recv(4096)
        time.sleep(1.0)
        beside = [closed_loop(rig.port, requests, connections=32, seconds=SECONDS) for _ in range(rounds)]
        more_mb = _memory_mb(rig.web_pid) - memory
        answered = sum(map(_answers, idle))
    figures.title(f"10. idle: POST /v1/decide, 32 connections, beside {count:,} that are kept open")
    rates = [(with_idle.rate, without.rate) for with_idle, without in zip(beside, before, strict=True)]
    figures.ratio("beside the idle connections", rates, "/s", "alone")
    for name, loads in (("alone", before), ("beside them", beside)):
        p50, p99 = (figures.median(load.percentile_ms(share) for load in loads) for share in (0.5, 0.99))
        figures.line(f"latency {name}, p50 and p99", f"{p50:.1f} ms", f"{p99:.1f} ms")
    figures.line("idle connections that still answer", f"{answered:,}", f"memory for them: {more_mb:.0f} MB")


def _answers(connection: socket.socket) -> bool:
    try:
        connection.sendall(QUESTION)
        return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _memory_mb(pid: int) -> float:
    """Memory that only this process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
