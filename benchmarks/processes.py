"""Durable decisions per second, latency and memory of 1, 2 and 4 web processes behind one socket."""

from pathlib import Path
from typing import Final

from benchmarks import figures
from benchmarks.load import Load, closed_loop
from benchmarks.rig import Rig, children_of
from benchmarks.workload import Workload

PROCESSES: Final = (1, 2, 4)
CONNECTIONS: Final = 32
SECONDS: Final = 3.0


def measure(rig: Rig, rounds: int) -> None:
    """Print what each number of processes answers, how fast, and what it takes."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    requests = [rig.request("/v1/decide", workload.request("bench", number)) for number in range(4096)]
    servers = {count: rig.serve_more(count) for count in PROCESSES}
    loads: dict[int, list[Load]] = {count: [] for count in PROCESSES}
    alone: dict[int, list[Load]] = {count: [] for count in PROCESSES}
    for _ in range(rounds):
        for count, (port, _) in servers.items():
            closed_loop(port, requests, connections=CONNECTIONS, seconds=0.5)
            loads[count].append(closed_loop(port, requests, connections=CONNECTIONS, seconds=SECONDS))
            alone[count].append(closed_loop(port, requests, connections=1, seconds=SECONDS / 3))
    figures.title(f"8. processes: POST /v1/decide, {CONNECTIONS} connections, by the number of web processes")
    for count, (_, pid) in servers.items():
        rates = [load.rate for load in loads[count]]
        p50, p99 = (figures.median(load.percentile_ms(share) for load in loads[count]) for share in (0.5, 0.99))
        one = figures.median(load.percentile_ms(0.5) for load in alone[count])
        note = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms; alone p50 {one:.1f} ms; {_memory_mb(pid):.0f} MB in all"
        figures.line(f"{count} web process{'es' * (count > 1)}", f"{figures.median(rates):,.0f}/s", note)


def _memory_mb(parent: int) -> float:
    """Memory of the processes of one server; pages that they share count once."""
    kilobytes = 0
    for pid in [parent, *children_of(parent)]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024
