"""Real servers for the tests: one embedded PostgreSQL and one Redis per pytest run, shared by xdist's workers.

Fixtures:

``database_url``        a migrated database of its own for each test *module* (a copy of one template)
``empty_database_url``  a database of its own for each *test*, without tables
``redis_url``           a Redis database of its own for each xdist worker, emptied before each module
``postgres_url``        the server itself (database ``postgres``), for tests that manage databases of their own

All are plain ``postgresql://`` and ``redis://`` addresses. The servers start when the first test asks for one, except
under xdist, where the controller owns them because workers end at different times. The clusters run without fsync:
a test of durability starts a cluster of its own.
"""

import fcntl
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from psycopg2 import sql

from app.deciding.runtime import Runtime
from app.embedded.postgres import PostgresServer
from app.embedded.redis import RedisServer
from app.embedded.state import DataDir
from tests.browser import chromium
from tests.lab import Lab
from tests.page_client import Browser, signed_in
from tests.service import Client, Loop, Web, make_key, running_web, runtime_of

__all__ = ["chromium"]

SERVERS_OF_TESTS = {"postgres_url", "redis_url", "chromium"}  # every server's fixture asks for one of them
_TEMPLATE = "loopwise_template"
_numbers = itertools.count(1)


class Servers:
    """The two servers of this pytest run."""

    def __init__(self) -> None:
        data_dir = DataDir(Path(tempfile.mkdtemp(prefix="loopwise-tests-"))).prepare()
        self.folder = data_dir.path
        fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
        self.postgres = PostgresServer(data_dir.path, data_dir.log("postgres"), fast)
        self.redis = RedisServer(data_dir.path, data_dir.log("redis"))

    def start(self) -> dict[str, str]:
        """Start both. Returns what a worker needs to know."""
        self.postgres.start()
        self.redis.start()
        return {
            "folder": str(self.folder),
            "postgres": self.postgres.url("postgres"),
            "redis": self.redis.url(),
        }

    def stop(self) -> None:
        self.redis.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out the tests that need a server, a browser or minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        slow = [item for item in items if _is_slow(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def _is_slow(item: pytest.Item) -> bool:
    """True when a test needs a server or a browser, or is marked as slow."""
    return not SERVERS_OF_TESTS.isdisjoint(getattr(item, "fixturenames", ())) or "slow" in item.keywords


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = None
    config.stash[_ADDRESSES] = None


def pytest_unconfigure(config: pytest.Config) -> None:
    servers = config.stash.get(_SERVERS, None)
    if servers is not None:
        servers.stop()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the addresses to an xdist worker (runs in the controller)."""
    node.workerinput["loopwise_servers"] = json.dumps(_addresses(node.config))


_SERVERS = pytest.StashKey[Servers | None]()
_ADDRESSES = pytest.StashKey[dict[str, str] | None]()


def _addresses(config: pytest.Config) -> dict[str, str]:
    known = config.stash[_ADDRESSES]
    if known is None:
        given = getattr(config, "workerinput", {}).get("loopwise_servers")
        if given:
            known = dict(json.loads(given))
        else:
            servers = config.stash[_SERVERS] = Servers()
            known = servers.start()
        config.stash[_ADDRESSES] = known
    return known


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """Address of the server's ``postgres`` database, as its superuser."""
    return _addresses(request.config)["postgres"]


@pytest.fixture(scope="session")
def _template(request: pytest.FixtureRequest, postgres_url: str) -> str:
    """Migrate once per pytest run, whichever worker comes first."""
    with open(Path(_addresses(request.config)["folder"]) / "template.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _query(postgres_url, "SELECT 1 FROM pg_database WHERE datname = %s", _TEMPLATE):
            _make_template(postgres_url)
    return _TEMPLATE


def _make_template(postgres_url: str) -> None:
    """Migrate under another name: the next worker must not use an incomplete template."""
    from app.foundation.store.migrate import upgrade

    draft = f"{_TEMPLATE}_draft"
    _execute(postgres_url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", draft)
    _execute(postgres_url, "CREATE DATABASE {}", draft)
    upgrade(_named(postgres_url, draft))
    # A template must have no connections, and the migration's pool may still have one.
    _query(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", draft)
    _execute(postgres_url, "ALTER DATABASE {} RENAME TO {}", draft, _TEMPLATE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says ``FRONTS = BOTH_FRONTS`` runs against the event loop, and against Flask alone."""
    fronts = getattr(metafunc.module, "FRONTS", None)
    if fronts and "front_kind" in metafunc.fixturenames:
        metafunc.parametrize("front_kind", fronts, indirect=True, scope="module")


@pytest.fixture(scope="module")
def front_kind(request: pytest.FixtureRequest) -> str:
    """What answers; see ``tests.service.Web``."""
    return str(getattr(request, "param", "loop"))


@pytest.fixture(scope="module")
def database_url(request: pytest.FixtureRequest, postgres_url: str, _template: str, front_kind: str) -> Iterator[str]:
    """A migrated, otherwise empty database for this module, and for each front."""
    with _database(request.config, postgres_url, _template) as url:
        yield url


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """A database without tables, for one test."""
    with _database(request.config, postgres_url, "template1") as url:
        yield url


@pytest.fixture(scope="module")
def redis_url(request: pytest.FixtureRequest) -> str:
    """An empty Redis database; tests of one worker share its number, one module after the other."""
    import redis

    number = int(_worker(request.config).removeprefix("gw") or 0) + 1
    base = _addresses(request.config)["redis"]
    url = urlunsplit(urlsplit(base)._replace(path=f"/{number % 16}"))
    client = redis.Redis.from_url(url)
    client.flushdb()
    client.close()
    return url


@contextmanager
def _database(config: pytest.Config, postgres_url: str, template: str) -> Iterator[str]:
    name = f"test_{_worker(config) or 'main'}_{next(_numbers)}"
    _execute(postgres_url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield _named(postgres_url, name)
    finally:
        _execute(postgres_url, "DROP DATABASE {} WITH (FORCE)", name)


def _worker(config: pytest.Config) -> str:
    """Return "gw0" and so on; "" without xdist."""
    return str(getattr(config, "workerinput", {}).get("workerid", ""))


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _execute(url: str, statement: str, *names: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    finally:
        connection.close()


def _query(url: str, statement: str, *values: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def web(database_url: str, front_kind: str) -> Iterator[Web]:
    """A web server for each module."""
    with running_web(database_url, front=front_kind) as server:
        yield server


@pytest.fixture(scope="module")
def client(web: Web, database_url: str) -> Client:
    """A client of it with every scope except admin."""
    return web.client(make_key(database_url))


@pytest.fixture(scope="module")
def runtime(database_url: str) -> Iterator[Runtime]:
    """Services in this process: no web server needed."""
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="30", LOOPWISE_STATEMENT_TIMEOUT_S="60") as started:
        yield started


@pytest.fixture(scope="module")
def loop(runtime: Runtime, database_url: str) -> Loop:
    """Decide, reward and learn through the services."""
    return Loop(runtime, database_url)


@pytest.fixture(scope="module")
def lab(runtime: Runtime, database_url: str) -> Lab:
    """Whole logs in one call: decided, rewarded, settled; and the worker's figures."""
    return Lab(runtime, database_url)


@pytest.fixture(scope="module")
def admin(web: Web, database_url: str) -> Browser:
    """An administrator, signed in."""
    return signed_in(web, database_url, "admin")


@pytest.fixture(scope="module")
def editor(web: Web, database_url: str) -> Browser:
    """An editor, signed in."""
    return signed_in(web, database_url, "editor")


@pytest.fixture(scope="module")
def viewer(web: Web, database_url: str) -> Browser:
    """A viewer, signed in."""
    return signed_in(web, database_url, "viewer")
