"""How long one decide call takes by itself: at 10, 100 and 1,000 actions, and at 1 and 1,000 experiments."""

from benchmarks import figures
from benchmarks.load import Load, closed_loop
from benchmarks.rig import Rig
from benchmarks.workload import Workload

ACTIONS = (10, 100, 1000)
EXPERIMENTS = 1000
CALLS = 400
BITS = 12  # of the thousand models: 1,000 of the usual 18 bits exceed the default memory of the model cache


def measure(rig: Rig, rounds: int) -> None:
    """Print p50 and p99 of single calls, one connection."""
    by_actions = {f"{count:,} actions": _actions(rig, count) for count in ACTIONS}
    workload = Workload(bits=BITS)
    rig.make_experiment(workload, "single")
    rig.teach(workload, ["single"], 1000)
    alone = [rig.request("/v1/decide", workload.request("single", n)) for n in range(CALLS)]
    before = _rounds(rig, {**by_actions, "one of 4 experiments": alone}, rounds)
    keys = [f"bench-{number}" for number in range(EXPERIMENTS)]
    for key in keys:
        rig.make_experiment(workload, key)
    rig.teach(workload, keys, EXPERIMENTS)
    spread = [rig.request("/v1/decide", workload.request(key, n)) for n, key in enumerate(keys)]
    closed_loop(rig.port, spread, connections=1, count=len(spread))  # loads the thousand models
    after = _rounds(rig, {"the same one among 1,004": alone, "all of 1,004 in turn": spread}, rounds)
    figures.title("4. latency of a durable decision, one connection, 20 context features (ratio: p50 to the first)")
    _print({name: before[name] for name in by_actions})
    _print({name: loads for name, loads in {**before, **after}.items() if name not in by_actions})


def _actions(rig: Rig, count: int) -> list[bytes]:
    workload, key = Workload(count), f"actions-{count}"
    rig.make_experiment(workload, key)
    rig.teach(workload, [key], 500)
    return [rig.request("/v1/decide", workload.request(key, n)) for n in range(CALLS)]


def _rounds(rig: Rig, requests: dict[str, list[bytes]], rounds: int) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {name: [] for name in requests}
    for name in [name for _ in range(rounds) for name in requests]:
        closed_loop(rig.port, requests[name], connections=1, count=20)
        loads[name].append(closed_loop(rig.port, requests[name], connections=1, count=CALLS))
    return loads


def _print(loads_by_name: dict[str, list[Load]]) -> None:
    first = None
    for name, loads in loads_by_name.items():
        half, most = (figures.median(load.percentile_ms(share) for load in loads) for share in (0.5, 0.99))
        first = first or half
        figures.line(name, f"p50 {half:.2f} ms", f"p99 {most:.2f} ms   {half / first:.2f}")
