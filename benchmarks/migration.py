"""python -m benchmarks.migration: upgrades a log of a million decisions while another session goes on deciding.

The database has the revision before the partitioned log and is upgraded to the newest. A writer stores one decision after
the other, as a program of that revision did, and measures each. The output has the upgrade's time, the writer's longest wait,
and for comparison the longest wait when an index is built the plain way, which stops writers until it is done.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from app.deciding.store.decisions import find_many
from app.embedded.postgres import PostgresServer
from app.embedded.state import DataDir
from app.foundation.store.migrate import upgrade

BEFORE = "0027"
DECISION = """
    INSERT INTO decisions (id, experiment_id, config_version, key_id, body_hash, unit_id, arm, policy_version, eligible,
        distribution, chosen, propensity, draw, context, encoding_version, state, seal)
    SELECT {id}, 1, 1, 'lw_000000000000', repeat('a', 64), 'unit-' || {number} %% 50000, 'learned', 1, ARRAY['a', 'b'],
        ARRAY[0.25, 0.75], 1, 0.75, 0.5, '{{"last": "nabisco"}}', 1, 'active', repeat('b', 64)
"""
DECISIONS = DECISION.format(id="'d-' || n", number="n") + " FROM generate_series(1, %(rows)s) AS n"
LEDGER = """
    INSERT INTO training_ledger (experiment_id, arm, decision_id, version_id, position, reward)
    SELECT 1, 'learned', 'd-' || n, 1 + n / 5000, n %% 5000, 1 FROM generate_series(1, %(rows)s) AS n
"""
LOOK_UPS = 2000
MONTHS = 24


class Waits(NamedTuple):
    """The waits of a writer during other work."""

    seconds: float  # of the other work
    decisions: int  # stored in the meantime
    longest_s: float  # longest wait for one decision


def fill(url: str, rows: int, before: str = BEFORE) -> None:
    """Bring an empty database to an old revision, with so many decisions; where the upgrade changes the ledger, all learned."""
    upgrade(url, before)
    with _connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(DECISIONS, {"rows": rows})
        if before != BEFORE:
            cursor.execute(LEDGER, {"rows": rows})
        cursor.execute("VACUUM ANALYZE decisions, training_ledger")


def waits_during(url: str, work: Callable[[], None], conflict: str = "") -> Waits:
    """Do some work while a writer stores one decision after the other.

    :param conflict: the key that the program names in ON CONFLICT; programs of 0016 or later name none.
    """
    taken: list[float] = []
    stop, failed = threading.Event(), list[BaseException]()

    def write() -> None:
        statement = DECISION.format(id="%(id)s", number="%(number)s")
        try:
            with _connected(url) as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    began = time.perf_counter()
                    number = time.monotonic_ns()
                    cursor.execute(
                        f"{statement} ON CONFLICT {conflict} DO NOTHING", {"id": f"w-{number}", "number": number}
                    )
                    taken.append(time.perf_counter() - began)
        except psycopg2.Error as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    began = time.perf_counter()
    try:
        work()
    finally:
        seconds = time.perf_counter() - began
        stop.set()
        writer.join()
    if failed:
        raise failed[0]
    return Waits(seconds, len(taken), max(taken))


def plain_index(url: str) -> None:
    """Build one of the upgrade's indexes in the plain way, which the upgrade avoids."""
    with _connected(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE INDEX plain ON decisions (unit_id, arm)")


def look_up_ms(url: str, rows: int) -> float:
    """Median time of finding a stored decision by its id, in milliseconds, planning included."""
    taken, engine = [], create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    with engine.connect() as connection:
        for turn in range(LOOK_UPS):
            key = (1, f"d-{1 + turn * 7919 % rows}")
            began = time.perf_counter()
            assert key in find_many(connection, [key])
            taken.append(time.perf_counter() - began)
    engine.dispose()
    return 1000 * statistics.median(taken)


def more_months(url: str) -> None:
    """Make the partitions of two years."""
    with _connected(url) as connection, connection.cursor() as cursor:
        for number in range(MONTHS):
            first, end = (f"{2050 + month // 12}-{month % 12 + 1:02d}-01" for month in (number, number + 1))
            bounds = f"FROM ('{first}') TO ('{end}')"
            cursor.execute(f"CREATE TABLE month_{number} PARTITION OF decisions FOR VALUES {bounds}")


@contextmanager
def _connected(url: str) -> Iterator["psycopg2.extensions.connection"]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migration", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="decisions in the log")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="loopwise-migration-") as folder:
        data_dir = DataDir(Path(folder)).prepare()
        server = PostgresServer(data_dir.path, data_dir.log("postgres"))
        server.start()
        try:
            fill(server.url(), rows)
            online = waits_during(server.url(), lambda: upgrade(server.url()))
            look_up = look_up_ms(server.url(), rows)
            more_months(server.url())
            among_more = look_up_ms(server.url(), rows)
            plain = waits_during(server.url(), lambda: plain_index(server.url()))
        finally:
            server.stop()
    for name, waits in (("the upgrade", online), ("one plain index", plain)):
        print(
            f"{rows:,} decisions, {name}: {waits.seconds:.1f} s, {waits.decisions:,} decisions stored in the meantime, "
            f"longest wait {waits.longest_s * 1000:.0f} ms"
        )
    print(f"a look-up by id afterwards: {look_up:.2f} ms; with {MONTHS} partitions more: {among_more:.2f} ms")
    print(f"ratio of the longest waits: {online.longest_s / plain.longest_s:.3f}")


if __name__ == "__main__":
    main()
