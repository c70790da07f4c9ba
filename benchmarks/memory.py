"""Memory of the web process after 100,000 decisions, compared with that after 10,000."""

import subprocess
from pathlib import Path

from benchmarks import figures
from benchmarks.load import closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

FEW, MANY = 10_000, 100_000
PER_CALL = 500


def measure(rig: Rig, _rounds: int) -> None:
    """Print the peaks. Every request names another unit and another user: caches keyed by text get new texts."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    _decide(rig, workload, 0, FEW)
    few = _peak_mb(rig.web_pid)
    _decide(rig, workload, FEW, MANY)
    many = _peak_mb(rig.web_pid)
    figures.title("5. memory: peak of the web process, every request with words that it never saw")
    figures.line(f"after {FEW:,} decisions", f"{few:.0f} MB")
    figures.line(f"after {MANY:,} decisions", f"{many:.0f} MB", f"ratio {many / few:.2f}")


def _decide(rig: Rig, workload: Workload, start: int, end: int) -> None:
    for first in range(start, end, PER_CALL):
        requests = [workload.request("bench", n) for n in range(first, first + PER_CALL)]
        requests = [request | {"context": request["context"] | {"user": request["unit_id"]}} for request in requests]
        closed_loop(rig.port, [rig.request("/v1/decide/batch", {"decisions": requests})], connections=1, count=1)


def _peak_mb(pid: int) -> float:
    """The largest resident size so far if the system reports it, otherwise the current size."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(fields["VmHWM"].split()[0]) / 1000
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout) / 1000
