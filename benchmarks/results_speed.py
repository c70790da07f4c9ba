"""python -m benchmarks.results_speed: a whole results report from PostgreSQL, at one million and at five million decisions.

Settled outcomes are made with `generate_series` in an embedded PostgreSQL (fsync on, its own settings): three arms, five
decisions per unit on average. The output has the seconds of the report from all outcomes (window, sample ratio, sums,
comparisons, rule, storage), the ratio to a bare `SELECT count(*), sum(reward)` over the same table, the seconds of a refresh
after each thousandth more decisions, and the growth. Medians of interleaved rounds.
"""

import argparse
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from unittest.mock import patch

from sqlalchemy import Engine, text

from app.design import experiments
from app.embedded.postgres import PostgresServer
from app.embedded.state import DataDir
from app.foundation.settings import Settings, from_environment
from app.foundation.store import engine as store_engine
from app.foundation.store import migrate
from app.foundation.store.engine import transaction
from app.reporting import results
from benchmarks import figures

SECRET: Final = "benchmarks only: 32 bytes or more of a secret"
UNIT_DECISIONS: Final = 5
SOURCES: Final = {
    "reward": {"type": "reward"},
    "sessions": {"type": "sessions", "gap_s": 1800.0},
    "retention": {"type": "retention", "days": 1.0},
}
FILL = """
    INSERT INTO outcomes (experiment_id, decision_id, arm, unit_id, reward, events, decided_at, settled_at)
    SELECT :id, :name || lpad(n::text, 12, '0'), (ARRAY['control', 'treated', 'third'])[1 + abs(hashint8(unit)) % 3],
        'unit-' || unit, (random() < 0.1)::int, 1, statement_timestamp() - make_interval(secs => n + 600),
        statement_timestamp() - make_interval(secs => :settled_s + n / 1e6)
    FROM (SELECT n, (random() * :units)::bigint AS unit FROM generate_series(1, :rows) n) made
"""


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results_speed", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="decisions of the smaller log; the other has 5 times"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--metrics", default="reward", help=f"comma-separated: {', '.join(SOURCES)}")
    arguments = parser.parse_args()
    data_dir = DataDir(Path(tempfile.mkdtemp(prefix="loopwise-bench-"))).prepare()
    postgres = PostgresServer(data_dir.path, data_dir.log("postgres"))
    postgres.start()
    try:
        migrate.upgrade(postgres.url())
        settings = from_environment({"DATABASE_URL": postgres.url(), "LOOPWISE_SECRET_KEY": SECRET})
        engine = store_engine.create(postgres.url(), settings)
        sizes = (arguments.rows, 5 * arguments.rows)
        medians = [_measure(engine, settings, rows, arguments.rounds, arguments.metrics.split(",")) for rows in sizes]
        figures.line("growth over five times the rows", f"{medians[1] / medians[0]:.2f}")
        engine.dispose()
    finally:
        postgres.stop()
        shutil.rmtree(data_dir.path, ignore_errors=True)


def _measure(engine: Engine, settings: Settings, rows: int, rounds: int, metrics: list[str]) -> float:
    key = f"rows-{rows}"
    _fill(engine, settings, key, rows, metrics)
    bare, report, refresh = [], [], []
    results.compute(engine, key)
    for _ in range(rounds):
        bare.append(_seconds(lambda: _bare(engine, key)))
        report.append(_seconds(lambda: _from_all(engine, key)))
    _keep_sums(engine, key)
    for number in range(rounds):
        with transaction(engine) as connection:
            more = {"name": f"more-{number}-", "rows": rows // 1000, "units": rows // UNIT_DECISIONS, "settled_s": 0}
            connection.execute(text(FILL), {"id": experiments.get(engine, key).id} | more)
        refresh.append(_seconds(lambda: results.compute(engine, key)))
    document = results.get(engine, key)
    expected = rows + rounds * (rows // 1000)
    if document.window.decisions != expected or any(
        metric.comparisons[0].p_value is None for metric in document.metrics
    ):
        raise RuntimeError(f"the report came to {document}")
    figures.title(f"results over {rows:,} decisions of {document.window.units:,} units, metrics {', '.join(metrics)}")
    figures.line("SELECT count(*), sum(reward)", f"{figures.median(bare):.2f} s")
    figures.line("results report from all outcomes", f"{figures.median(report):.2f} s")
    figures.line(
        "refresh after a thousandth more",
        f"{figures.median(refresh):.2f} s",
        f"({', '.join(f'{s:.2f}' for s in refresh)})",
    )
    pairs = sorted(ours / theirs for ours, theirs in zip(report, bare, strict=True))
    figures.line("ratio", f"{figures.median(pairs):.2f}", f"({pairs[0]:.2f} to {pairs[-1]:.2f} in {rounds} rounds)")
    return figures.median(report)


def _fill(engine: Engine, settings: Settings, key: str, rows: int, metrics: list[str]) -> None:
    arms = [
        {"key": name, "share": share, "policy": {"type": "uniform"}}
        for name, share in (("control", 0.333334), ("treated", 0.333333), ("third", 0.333333))
    ]
    declared = [
        {"key": name, "role": "secondary" if index else "primary", "source": SOURCES[name]}
        for index, name in enumerate(metrics)
    ]
    document = {"key": key, "actions": [{"id": "a"}, {"id": "b"}], "arms": arms, "metrics": declared}
    made = experiments.create(engine, settings, document, "benchmark")
    experiments.move(engine, key, "start", "benchmark")
    with transaction(engine) as connection:
        values = {"name": "decision-", "rows": rows, "units": rows // UNIT_DECISIONS, "settled_s": 60}
        connection.execute(text(FILL), {"id": made.id} | values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _from_all(engine: Engine, key: str) -> None:
    """A report that keeps no sums."""
    with patch.object(results, "LONG", math.inf):
        results.compute(engine, key)


def _keep_sums(engine: Engine, key: str) -> None:
    """Compute reports until one has made the sums that refreshes add to."""
    made = text("SELECT EXISTS (SELECT FROM unit_sum_states WHERE experiment_id = :id AND built_at IS NOT NULL)")
    while True:
        results.compute(engine, key)
        with transaction(engine) as connection:
            if connection.execute(made, {"id": experiments.get(engine, key).id}).scalar_one():
                return
        time.sleep(1)


def _bare(engine: Engine, key: str) -> None:
    query = (
        "SELECT count(*), sum(reward) FROM outcomes WHERE experiment_id = (SELECT id FROM experiments WHERE key = :key)"
    )
    with transaction(engine) as connection:
        connection.execute(text(query), {"key": key}).one()


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
