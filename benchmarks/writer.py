"""What one row of the log costs in a commit of 1 to 1,000 rows: the writer's own CPU, PostgreSQL's, and the time of a commit."""

import time
from statistics import median
from typing import Final

from app.accounts import keys
from app.deciding.plan import plan
from app.deciding.prepare import prepare
from app.deciding.requests import DecideRequest, identify
from app.deciding.runtime import start
from app.deciding.store import decisions
from app.deciding.store.decisions import NewDecision
from app.foundation.ids import new_id
from app.foundation.running.steps import run
from app.foundation.store import engine as store_engine
from benchmarks import figures
from benchmarks.decide import cpu_s, postgres_pids
from benchmarks.rig import Rig
from benchmarks.workload import Workload

SIZES: Final = (1, 8, 16, 32, 128, 1000)
LEAST_COMMITS: Final = 3
ROWS: Final = 3000  # of each size in each round


def measure(rig: Rig, rounds: int) -> None:
    """Print the costs for each size of a commit."""
    workload = Workload()
    rig.make_experiment(workload, "bench")
    rig.teach(workload, ["bench"], 2000)
    planned = _rows(rig, workload, max(SIZES))
    spent: dict[int, list[tuple[float, float, float]]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size in SIZES:
            spent[size].append(_commits(rig, planned[:size]))
    figures.title("7. writer: one row of the log, by the rows of its commit (10 actions, 20 context features)")
    for size in SIZES:
        writer_us, postgres_us, commit_ms = (median(values) for values in zip(*spent[size], strict=True))
        note = f"and {postgres_us:.0f} us of PostgreSQL; a commit takes {commit_ms:.1f} ms"
        figures.line(f"{size:,} rows a commit: the writer's CPU", f"{writer_us:.1f} us", note)


def _rows(rig: Rig, workload: Workload, count: int) -> list[NewDecision]:
    runtime = start(rig.settings)
    try:
        caller = keys.Caller(keys.parse(rig.key)[0], frozenset({"decide"}), None)
        experiment = runtime.snapshots.current.experiments["bench"]
        bodies = [workload.request("bench", number) for number in range(count)]
        asked = [identify(DecideRequest.model_validate(body), body) for body in bodies]
        return [plan(runtime, run(prepare(runtime, caller, experiment, one)), None).row for one in asked]
    finally:
        runtime.stop()


def _commits(rig: Rig, rows: list[NewDecision]) -> tuple[float, float, float]:
    """Microseconds a row of this thread and of PostgreSQL, and milliseconds a commit."""
    count = max(LEAST_COMMITS, min(300, ROWS // len(rows)))
    batches = [[row._replace(id=new_id()) for row in rows] for _ in range(1 + count)]
    engine = store_engine.create(rig.settings.database_url, rig.settings, pool_size=1, ping=False, autocommit=True)
    with engine.connect() as connection:
        decisions.insert_new(connection, batches.pop())
        pids = postgres_pids(rig)
        database, own, began = cpu_s(pids), time.thread_time(), time.perf_counter()
        for batch in batches:
            decisions.insert_new(connection, batch)
        seconds, own, database = time.perf_counter() - began, time.thread_time() - own, cpu_s(pids) - database
    engine.dispose()
    stored = count * len(rows)
    return 1e6 * own / stored, 1e6 * database / stored, 1000 * seconds / count
