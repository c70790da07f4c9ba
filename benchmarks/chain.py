"""python -m benchmarks.chain: what the chain costs the log's writer, and how fast an audit compares rows with links.

The same statement stores decisions with and without its link, in turn. Measured is the CPU time of PostgreSQL's process, which
other work on the machine does not change.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy import Connection, Engine, text

from app.deciding.store import decisions
from app.deciding.store.decisions import NewDecision
from app.embedded.postgres import PostgresServer
from app.embedded.state import DataDir
from app.foundation.settings import from_environment
from app.foundation.store import chain
from app.foundation.store.engine import create
from app.foundation.store.migrate import upgrade

SECRET = "the benchmark's own key of 32 bytes"
LINK = chain.link(chain.DECISIONS, "stored").replace(f":{chain.CHAIN_KEY}", f"%({chain.CHAIN_KEY})s")
STATEMENTS = {
    "with": decisions._INSERT,
    "without": decisions._INSERT.replace(f"links AS ({LINK}), ", "").replace(f" WHERE {chain.ADDED}", ""),
}


def row(number: str) -> NewDecision:
    """One decision of experiment 1."""
    context: dict[str, JsonValue] = {"last": "nabisco", "n": 12.5, "visits": 3}
    return NewDecision(
        number, 1, 1, "lw_000000000000", "a" * 64, f"unit-{number}", "all", 0, None, None, ["a", "b", "c"], None,
        [0.25, 0.25, 0.5], 1, 0.25, 0.4, context, 1, None, "active", None, None, None, None, None, None, "2:" + "b" * 64,
        600.0, False,
    )  # fmt: skip


def store(connection: Connection, statement: str, rows: list[NewDecision], cpu: Path) -> float:
    """Microseconds of CPU for one commit."""
    decisions._INSERT = statement
    began = int(cpu.read_text(encoding="ascii").split()[0])
    assert len(decisions.insert_new(connection, rows)) == len(rows)
    return (int(cpu.read_text(encoding="ascii").split()[0]) - began) / 1000


def commits(engine: Engine, rows: int, count: int) -> dict[str, float]:
    """Mean microseconds of a commit of so many rows, by statement."""
    taken: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    with engine.connect() as connection:
        cpu = Path(f"/proc/{connection.execute(text('SELECT pg_backend_pid()')).scalar()}/schedstat")
        for turn in range(count):
            for name, statement in STATEMENTS.items():
                batch = [row(f"{name}-{rows}-{turn}-{n}") for n in range(rows)]
                taken[name].append(store(connection, statement, batch, cpu))
    return {name: statistics.fmean(sorted(values)[: count * 9 // 10]) for name, values in taken.items()}


def comparison(engine: Engine) -> tuple[int, float]:
    """(decisions, seconds) of comparing all with their links."""
    with engine.connect() as connection:
        began = time.perf_counter()
        chain.compare(connection, chain.DECISIONS, 1)
        seconds = time.perf_counter() - began
        return int(connection.execute(text("SELECT count(*) FROM decisions")).scalar_one()), seconds


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=__doc__)
    parser.add_argument("--commits", type=int, default=1000)
    count = parser.parse_args().commits
    with tempfile.TemporaryDirectory(prefix="loopwise-chain-") as folder:
        data_dir = DataDir(Path(folder)).prepare()
        server = PostgresServer(data_dir.path, data_dir.log("postgres"))
        server.start()
        try:
            upgrade(server.url())
            settings = from_environment({"DATABASE_URL": server.url(), "LOOPWISE_SECRET_KEY": SECRET})
            engine = create(server.url(), settings, autocommit=True)
            with engine.connect() as connection:
                connection.execute(
                    text(
                        "INSERT INTO experiments (key, status, salt, config_version, revision) VALUES ('e', 'running', '', 1, 1)"
                    )
                )
            for rows in (1, 10, 60):
                taken = commits(engine, rows, count)
                more = taken["with"] - taken["without"]
                print(
                    f"commit of {rows:>2} rows: {taken['with']:,.0f} us with its link, {taken['without']:,.0f} us without: "
                    f"{more:+,.0f} us, {more / rows:+.1f} us a row"
                )
            decided, seconds = comparison(engine)
            print(f"comparing {decided:,} decisions with their links: {seconds:.2f} s")
            engine.dispose()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
