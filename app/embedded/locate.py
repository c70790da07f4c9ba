"""Find the servers for a command: those in the environment, or those of a running or stopped `loopwise up`.

This module never starts a second server on a data directory, and never shows a password in a message.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from app.embedded import process
from app.embedded.errors import ServerError
from app.embedded.state import DataDir
from app.foundation.settings import Settings, from_environment

_OLDEST_POSTGRES = 15


@contextmanager
def servers(
    data_dir: DataDir, *, redis: bool = False, start: bool = True, environ: Mapping[str, str] | None = None
) -> Iterator[Settings]:
    """Yield settings with working addresses for the duration of a command.

    :param redis: True: the command also needs Redis, which is never started for a single command.
    :param start: True: start the embedded PostgreSQL of a stopped `up`, and stop it afterwards.
    :raises ServerError: there is no server to use.
    """
    values = dict(os.environ if environ is None else environ)
    running = data_dir.running()
    if running is not None:
        _fill(values, "DATABASE_URL", running.database_url)
        _fill(values, "REDIS_URL", running.redis_url)
    if data_dir.secret_key.exists():
        _fill(values, "LOOPWISE_SECRET_KEY", data_dir.read_secret_key())
    if redis and not values.get("REDIS_URL"):
        raise ServerError(_no_server(data_dir, "REDIS_URL"))
    if values.get("DATABASE_URL"):
        yield from_environment(values)
    elif start and data_dir.has_cluster():
        with _own_postgres(data_dir) as url:
            yield from_environment({**values, "DATABASE_URL": url})
    else:
        raise ServerError(_no_server(data_dir, "DATABASE_URL"))


def _fill(values: dict[str, str], name: str, value: str) -> None:
    if not values.get(name):
        values[name] = value


def _no_server(data_dir: DataDir, name: str) -> str:
    return (
        f"no server to work with: {name} is not set, and no `loopwise up` runs on {data_dir.path}. Start it, name its "
        f"folder with --data-dir, or set {name}."
    )


@contextmanager
def _own_postgres(data_dir: DataDir) -> Iterator[str]:
    from app.embedded.postgres import PostgresServer

    lock = process.lock_file(data_dir.path / "up.lock")
    if lock is None:
        raise ServerError(f"`loopwise up` on {data_dir.path} is starting or stopping; try again in a moment.")
    os.close(lock)  # an `up` that starts now waits for our server, which has a lock of its own
    server = PostgresServer(data_dir.path, data_dir.prepare().log("postgres"))
    server.start()
    try:
        yield server.url()
    finally:
        server.stop()


def check_database(url: str) -> str:
    """Return the major version of the user's own PostgreSQL.

    :raises ServerError: it does not answer or is too old.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(url, connect_timeout=5)
    except psycopg2.Error as error:
        reason = str(error).strip().splitlines() or ["no answer"]
        raise ServerError(f"DATABASE_URL ({without_password(url)}) does not work: {reason[0]}") from None
    try:
        major = connection.server_version // 10_000
    finally:
        connection.close()
    if major < _OLDEST_POSTGRES:
        raise ServerError(f"DATABASE_URL is PostgreSQL {major}; Loopwise needs {_OLDEST_POSTGRES} or newer.")
    return str(major)


def check_redis(url: str) -> str:
    """Return the version of the user's own Redis.

    :raises ServerError: it does not answer.
    """
    import redis

    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
        version = str(client.info("server")["redis_version"])
        client.close()
    except (redis.RedisError, ValueError, OSError) as error:
        raise ServerError(f"REDIS_URL ({without_password(url)}) does not work: {error}") from None
    return version


def without_password(url: str) -> str:
    """Return an address without its user and password, so that it can be printed."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
