"""Durable decisions per second of one web process, its rate on a constant route, and the costs of the difference."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks import figures, parts
from benchmarks.load import Load, closed_loop
from benchmarks.rig import Rig, children_of
from benchmarks.workload import Workload

CONNECTIONS = 32
SECONDS = 3.0
AIM = 0.8
OLD_AIM = 2.5
BEFORE = "/v1/decide of before"
ROUTES = ("/constant", "/healthz", BEFORE, "/v1/decide")


class Run(NamedTuple):
    """One route under load for a while."""

    load: Load
    web_us: float  # CPU of the web process per request, in microseconds
    postgres_us: float  # CPU of PostgreSQL per request, in microseconds


def measure(rig: Rig, rounds: int) -> None:
    """Print the ratio, the CPU of each route, and the parts of a decision."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    requests = {
        "/constant": [rig.request("/constant")],
        "/healthz": [rig.request("/healthz")],
        "/v1/decide": [rig.request("/v1/decide", workload.request("bench", n)) for n in range(4096)],
    }
    requests[BEFORE] = requests["/v1/decide"]
    old, new = rig.front_of_before(), (rig.port, rig.web_pid)
    runs: dict[str, list[Run]] = {route: [] for route in ROUTES}
    for _ in range(rounds):
        for route in ROUTES:
            runs[route].append(_run(rig, new if route == "/v1/decide" else old, requests[route]))
    _print(runs)
    parts.measure(rig, workload, "bench", _median_us(runs["/healthz"]), _median_us(runs["/v1/decide"]))


def _run(rig: Rig, server: tuple[int, int], requests: list[bytes]) -> Run:
    """:param server: its port and its process."""
    port, pid = server
    closed_loop(port, requests, connections=CONNECTIONS, seconds=0.3)
    web, database = cpu_s([pid]), cpu_s(postgres_pids(rig))
    load = closed_loop(port, requests, connections=CONNECTIONS, seconds=SECONDS)
    web, database = cpu_s([pid]) - web, cpu_s(postgres_pids(rig)) - database
    return Run(load, 1e6 * web / load.answers, 1e6 * database / load.answers)


def _print(runs: dict[str, list[Run]]) -> None:
    figures.title(
        "1. decide: durable decisions/s, 10 actions, 20 context features, squarecb, one process, 32 connections"
    )
    rates = {route: [run.load.rate for run in runs[route]] for route in ROUTES}
    both = list(zip(rates["/v1/decide"], rates["/healthz"], strict=True))
    figures.ratio("POST /v1/decide", both, "/s", "GET /healthz (a constant, through Flask)", AIM)
    fronts = list(zip(rates["/v1/decide"], rates[BEFORE], strict=True))
    figures.ratio("POST /v1/decide", fronts, "/s", "the front of before: WSGI, 32 threads", OLD_AIM)
    bare = [ours / theirs for ours, theirs in zip(rates["/v1/decide"], rates["/constant"], strict=True)]
    constant = figures.median(rates["/constant"])
    figures.line("a constant from WSGI itself", f"{constant:,.0f}/s", f"ratio {figures.median(bare):.2f}")
    for route in ("/v1/decide", BEFORE):
        decided = [run.load for run in runs[route]]
        for share in (0.5, 0.99):
            value = figures.median(load.percentile_ms(share) for load in decided)
            figures.line(f"latency of {route}, p{100 * share:g}", f"{value:.1f} ms")
    for route in ROUTES:
        database = figures.median(run.postgres_us for run in runs[route])
        note = f"and {database:.0f} us of PostgreSQL" if database >= 1 else ""
        figures.line(f"CPU of the web process per request, {route}", f"{_median_us(runs[route]):.0f} us", note)


def _median_us(runs: list[Run]) -> float:
    return figures.median(run.web_us for run in runs)


def postgres_pids(rig: Rig) -> list[int]:
    """PostgreSQL's processes."""
    assert rig.postgres.process is not None
    return [rig.postgres.process.pid, *children_of(rig.postgres.process.pid)]


def cpu_s(pids: list[int]) -> float:
    """CPU time of live processes so far, in seconds."""
    try:
        return sum(map(_proc_cpu_s, pids))
    except OSError:  # no /proc: ps knows whole seconds or hundredths, depending on the system
        listed = subprocess.run(
            ["ps", "-o", "time=", "-p", ",".join(map(str, pids))], check=True, capture_output=True, text=True
        )
        return sum(map(_clock_s, listed.stdout.split()))


def _proc_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _clock_s(text: str) -> float:
    seconds = 0.0
    for part in text.replace("-", ":").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds
