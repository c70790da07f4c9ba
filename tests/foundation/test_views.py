"""The views for BI tools say what the tables say, leave out whom reports leave out, and their role reads nothing else."""

from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from app.foundation.errors import Conflict, Unprocessable
from app.foundation.store import views
from app.foundation.store.migrate import upgrade
from app.reporting import exclusions
from tests.lab import AB, Lab
from tests.service import engine_of, loopwise, query

WRITES = (
    "INSERT INTO bi.experiments (experiment) VALUES ('x')",
    "CREATE TABLE bi.mine (x int)",
    "SET default_transaction_read_only = off; DELETE FROM bi.decisions",
)


@pytest.fixture(scope="module")
def log(lab: Lab) -> Lab:
    """Forty units, of which one is excluded and one denied being analysed."""
    lab.make("shop", arms=AB, control_arm="control", name="The shop")
    lab.play(
        "shop", [{"unit_id": f"u{number}"} for number in range(40)], lambda _, answer: float(answer["arm"] == "treated")
    )
    exclusions.exclude(lab.runtime.engine, "shop", ["u1"], "a test", "ann")
    query(lab.database_url, "INSERT INTO restrictions (unit_id, denied) VALUES ('u2', '{analyse}')")
    return lab


@pytest.fixture(scope="module")
def reader(log: Lab) -> Any:
    """A connection of a role that may read the views."""
    name = f"reader_{make_url(log.database_url).database}".lower()
    password = views.give_access(log.runtime.engine, name)
    url = make_url(log.database_url).set(username=name, password=password)
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    connection.autocommit = True
    yield connection
    connection.close()
    for statement in (f"DROP OWNED BY {name}", f"DROP ROLE {name}"):
        query(log.database_url, statement)


def _rows(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_the_views_say_what_the_log_says(log: Lab, reader: Any) -> None:
    assert _rows(reader, "SELECT experiment, name, status FROM experiments") == [("shop", "The shop", "running")]
    assert _rows(reader, "SELECT arm, share, policy FROM arms ORDER BY arm") == [
        ("control", 0.5, "fixed"),
        ("treated", 0.5, "uniform"),
    ]
    assert _rows(reader, "SELECT count(*), count(DISTINCT unit_id) FROM decisions") == [(38, 38)]
    outcomes = _rows(reader, "SELECT arm, action, reward, reward_events FROM outcomes WHERE experiment = 'shop'")
    assert len(outcomes) == 38
    assert {action for arm, action, *_ in outcomes if arm == "control"} == {"a"}
    assert all(reward == (arm == "treated") and events == 1 for arm, _, reward, events in outcomes)
    by_day = _rows(
        reader, "SELECT arm, decisions, units, rewarded_decisions, reward_mean FROM results_by_day ORDER BY arm"
    )
    assert sum(row[1] for row in by_day) == 38 and [row[4] for row in by_day] == [0.0, 1.0]
    log.results("shop")
    assert _rows(reader, "SELECT experiment, best_arm, verdict FROM verdicts") == [("shop", "treated", "keep_running")]


def test_its_role_reads_nothing_else_and_writes_nothing(log: Lab, reader: Any) -> None:
    tables = query(log.database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 30
    for (table,) in tables:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            _rows(reader, f'SELECT 1 FROM public."{table}" LIMIT 1')
    for statement in WRITES:
        with pytest.raises(psycopg2.Error):
            _rows(reader, statement)


def test_the_rights_outlive_views_that_are_made_anew(log: Lab, reader: Any) -> None:
    with log.runtime.engine.begin() as connection:
        views.drop(connection)
        assert views.stale(connection)
    upgrade(log.database_url)
    assert _rows(reader, "SELECT count(*) FROM decisions") == [(38,)]
    with log.runtime.engine.begin() as connection:
        assert not views.stale(connection)


def test_a_name_is_taken_once_and_cannot_be_anything(log: Lab) -> None:
    for wrong in ("x", 'a"b;c', "pg-admin", "Ann"):
        with pytest.raises(Unprocessable):
            views.give_access(log.runtime.engine, wrong)
    owner = make_url(log.database_url).username
    assert owner is not None
    with pytest.raises(Conflict):
        views.give_access(log.runtime.engine, owner)


def test_the_command_prints_an_address_that_works(empty_database_url: str, tmp_path: Path) -> None:
    upgrade(empty_database_url)
    name = f"cli_{make_url(empty_database_url).database}".lower()
    made = loopwise(tmp_path, empty_database_url, "bi-access", name)
    assert made.returncode == 0, made.stderr
    connection = psycopg2.connect(made.stdout.strip())
    assert _rows(connection, "SELECT count(*) FROM results_by_day") == [(0,)]
    connection.close()
    with engine_of(empty_database_url) as engine, engine.begin() as owner:
        owner.exec_driver_sql(f"DROP OWNED BY {name}")
        owner.exec_driver_sql(f"DROP ROLE {name}")
