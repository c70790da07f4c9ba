"""The migrations create the schema that the tables declare."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from app.foundation.store.migrate import upgrade
from app.foundation.store.tables import metadata
from tests.service import engine_of, query


def _no_partition(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions of the log follow from the log's table."""
    return kind != "table" or not str(name).startswith("decisions_")


def test_the_migrations_and_the_tables_agree(database_url: str) -> None:
    with engine_of(database_url) as engine, engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_name": _no_partition}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_comparison_reports_a_difference(database_url: str) -> None:
    with engine_of(database_url) as engine, engine.connect() as connection:
        connection.execute(text("ALTER TABLE rewards DROP COLUMN late"))
        context = MigrationContext.configure(connection, opts={"include_name": _no_partition})
        assert len(compare_metadata(context, metadata)) == 1


def test_migrating_again_changes_nothing_and_several_at_once_take_turns(empty_database_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade, [empty_database_url] * 3))
    upgrade(empty_database_url)
    assert query(empty_database_url, "SELECT count(*) FROM platform") == [(1,)]


def test_the_log_refuses_impossible_values(database_url: str) -> None:
    import psycopg2
    import pytest

    for value in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            query(
                database_url,
                "INSERT INTO rewards (decision_id, reward_id, experiment_id, metric, value, occurred_at, late)"
                " VALUES ('d', 'r', 1, 'reward', %s, now(), false)",
                value,
            )
