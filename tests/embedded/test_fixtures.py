"""The fixtures that all other tests use."""

import psycopg2
import pytest
import redis


def _tables(url: str) -> int:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            row = cursor.fetchone()
            assert row is not None
            return int(row[0])
    finally:
        connection.close()


def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    assert _tables(empty_database_url) == 0


def test_the_database_of_a_module_is_migrated(database_url: str) -> None:
    pytest.importorskip("app.foundation.store.migrate")
    assert _tables(database_url) > 0


def test_redis_is_a_real_server_and_starts_empty(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    assert client.set("a", "1")
    assert client.get("a") == b"1"
    client.close()
