"""A role that owns the tables and is no superuser loses the rights that the application never uses."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg2.errors
import pytest

from app.foundation.store.migrate import NEVER, upgrade
from app.people import erasure
from tests.service import Loop, bandit, query, runtime_of


@pytest.fixture
def owner_url(postgres_url: str, empty_database_url: str) -> Iterator[str]:
    """The address of an empty database for its owner."""
    parts = urlsplit(empty_database_url)
    name = parts.path[1:]
    query(postgres_url, f"CREATE ROLE owner_of_{name} LOGIN PASSWORD 'p'")
    query(postgres_url, f"ALTER DATABASE {name} OWNER TO owner_of_{name}")
    yield urlunsplit(parts._replace(netloc=f"owner_of_{name}:p@{parts.hostname}:{parts.port}"))
    query(postgres_url, f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
    query(empty_database_url, f"REASSIGN OWNED BY owner_of_{name} TO CURRENT_USER; DROP OWNED BY owner_of_{name}")
    query(postgres_url, f"DROP ROLE owner_of_{name}")


def test_the_loop_runs_and_nothing_stored_can_be_rewritten(owner_url: str) -> None:
    upgrade(owner_url)
    with runtime_of(owner_url) as runtime:
        loop = Loop(runtime, owner_url)
        loop.learn("owned")
        erasure.ask(runtime.engine, loop.settings, loop.caller, "unit-1")
        assert erasure.run_waiting(runtime.engine, loop.settings)
        loop.make("owned-2", arms=bandit())
        assert loop.audit("owned").ok
    for table, rights in NEVER.items():
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
            if statement.split()[0] in rights:
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    query(owner_url, statement)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(owner_url, "UPDATE rewards SET value = 1")
    upgrade(owner_url)  # the next migrations get the rights for as long as they run
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(owner_url, "DELETE FROM changes")
