"""PostgreSQL's advisory locks: every number in one module, each held until its transaction ends.

A lock of a ``Kind`` has a name, whose hash is its second half. Of a ``Single`` lock there is one in a database.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import Connection, Engine, text

from app.foundation.store.engine import transaction

PAUSE_S = 0.2
PATIENCE_S = 3600.0


class Kind(IntEnum):
    """First halves of named locks."""

    LINEAGE = 7_205_759  # one arm's model versions: a round, or a rebuild
    EVALUATION = 7_205_760  # an off-policy evaluation that is being computed
    ALONE = 7_205_761  # work that one process at a time does
    UNIT = 7_205_762  # a unit's state, from reading it until its consequences are stored
    LINEAGES_OF_EXPERIMENT = 7_205_763  # rounds share it, a rebuild has it alone
    EVALUATION_ID = 7_205_765  # an id that a caller gives an evaluation
    PRIVACY_BUDGET = 7_205_764  # an experiment's private reports


class Single(IntEnum):
    """Locks of which there is one in a database."""

    MIGRATION = 7_205_759_403  # two processes that migrate at once take turns
    REWARD_GATE = 7_205_759_404  # writers of rewards share it, a round has it alone for a moment


_HOLD_ALL = text(
    """
    SELECT pg_advisory_xact_lock(:kind, hash)
    FROM (SELECT DISTINCT hashtext(name) AS hash FROM unnest(CAST(:names AS text[])) AS name ORDER BY hash) hashes
    """
)


def hold(connection: Connection, kind: Kind, name: str) -> None:
    """Wait for a lock."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:kind, hashtext(:name))"), {"kind": int(kind), "name": name})


def hold_all(connection: Connection, kind: Kind, names: Sequence[str]) -> None:
    """Wait for several locks of a kind, always in the same order, so that two callers cannot wait for each other."""
    connection.execute(_HOLD_ALL, {"kind": int(kind), "names": list(names)})


def try_hold(connection: Connection, kind: Kind, name: str) -> bool:
    """Take a lock now; False when somebody else has it."""
    query = text("SELECT pg_try_advisory_xact_lock(:kind, hashtext(:name))")
    return bool(connection.execute(query, {"kind": int(kind), "name": name}).scalar_one())


def try_share(connection: Connection, kind: Kind, name: str) -> bool:
    """Take a lock now together with others who share it; False when somebody has it alone, or waits for that."""
    query = text("SELECT pg_try_advisory_xact_lock_shared(:kind, hashtext(:name))")
    return bool(connection.execute(query, {"kind": int(kind), "name": name}).scalar_one())


def hold_single(connection: Connection, lock: Single) -> None:
    """Wait until nobody has the lock, shared or not."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": int(lock)})


def share_single(connection: Connection, lock: Single) -> None:
    """Wait until nobody has the lock alone, and share it."""
    connection.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": int(lock)})


@contextmanager
def alone(engine: Engine, name: str) -> Iterator[bool]:
    """True inside the block for one process at a time in the whole database; the lock ends with its holder."""
    with transaction(engine) as connection:
        yield try_hold(connection, Kind.ALONE, name)


@contextmanager
def one_session_holds(engine: Engine, lock: Single) -> Iterator[None]:
    """Hold a lock over several transactions: it belongs to a session that does nothing else, and ends with it.

    It asks for the lock again and again instead of waiting for it: an index that is built beside the writers waits for every
    statement that runs, a waiting one included.

    :raises TimeoutError: somebody else held it for ``PATIENCE_S``.
    """
    taken, ends_at = text("SELECT pg_try_advisory_lock(:lock)"), time.monotonic() + PATIENCE_S
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.execute(taken, {"lock": int(lock)}).scalar_one():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"another session held the {lock.name.lower()} lock for {PATIENCE_S:g} s")
            time.sleep(PAUSE_S)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": int(lock)})
