"""The partitions of the log by time: an upgrade while decisions go on, the ids, and what the worker makes ahead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.deciding.store import decisions
from app.foundation.errors import Conflict
from app.foundation.store import fragments, old_keys, partitions
from app.foundation.store.migrate import upgrade
from app.verification import chain
from benchmarks.migration import DECISION, fill, waits_during
from migrations import online
from tests.service import Client, Loop, engine_of, move_decisions, query

ROWS = 20_000
WITHOUT = """
    SELECT (SELECT count(*) FROM decisions d WHERE NOT EXISTS (SELECT FROM decision_ids k
        WHERE k.decision_id = d.id AND k.experiment_id = d.experiment_id AND k.decided_at = d.decided_at)),
    (SELECT count(*) FROM decision_ids k WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.id = k.decision_id))
"""
PARTS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'decisions'::regclass ORDER BY 1"
TRIGGERS = "SELECT DISTINCT tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'decisions%' ORDER BY 1"
OLD_PROGRAM = DECISION.format(id="%s", number="1") + " ON CONFLICT DO NOTHING RETURNING id"


def is_whole(url: str, rows: int) -> bool:
    """Whether every decision has its id, and every id its decision."""
    assert query(url, "SELECT count(*) FROM decisions") == [(rows,)]
    return query(url, WITHOUT) == [(0, 0)] and query(url, "SELECT count(*) FROM decision_ids") == [(rows,)]


def test_a_filled_log_gets_parts_while_programs_of_before_decide(empty_database_url: str) -> None:
    url = empty_database_url
    fill(url, ROWS)
    waits = waits_during(url, lambda: upgrade(url))
    assert waits.decisions > 10
    assert is_whole(url, ROWS + waits.decisions)
    assert query(url, PARTS)[:2] == [("decisions_default",), ("decisions_early",)]
    assert query(url, "SELECT count(*) FROM decisions_default") == [(0,)]
    assert query(url, "SELECT obj_description('decision_ids'::regclass)") == [(None,)]
    # Until they are restarted, these programs go on: an id stays unique, and goes with its decision.
    assert query(url, OLD_PROGRAM, "d-7") == []
    assert query(url, OLD_PROGRAM, "new") == [("new",)]
    assert query(url, OLD_PROGRAM, "new") == []
    query(url, "DELETE FROM decisions WHERE id = 'd-8'")
    assert is_whole(url, ROWS + waits.decisions)
    plan = "\n".join(
        row[0] for row in query(url, "EXPLAIN SELECT FROM decisions WHERE id = 'd-9' AND experiment_id = 1")
    )
    assert "decisions_early_old_key" in plan, "their look-ups by id alone have an index"


def test_an_hour_later_nothing_is_kept_for_programs_of_before(empty_database_url: str) -> None:
    url = empty_database_url
    fill(url, 100)
    upgrade(url)
    assert query(url, TRIGGERS) == [("decisions_deleted",), ("decisions_named",)]
    with engine_of(url) as engine:
        assert old_keys.drop_due(engine) == []
        query(url, "COMMENT ON INDEX decisions_early_old_key IS '2020-01-01 00:00+00'")
        with engine.begin() as reader:
            reader.execute(text("SELECT 1 FROM decisions LIMIT 1"))
            assert old_keys.drop_due(engine) == []
        assert old_keys.drop_due(engine) == ["decisions_early_old_key"]
        assert old_keys.drop_due(engine) == []
    assert query(url, TRIGGERS) == [("decisions_deleted",)]
    assert query(url, "SELECT count(*) FROM pg_proc WHERE proname IN ('decisions_named', 'decisions_followed')") == [
        (0,)
    ]


@pytest.mark.parametrize("step", range(3))
def test_an_upgrade_that_is_killed_goes_on(empty_database_url: str, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Before each of its moments alone; decisions go on in between."""
    url, moment, moments = empty_database_url, online.brief, [0]
    fill(url, 500)

    def die(*statements: str) -> None:
        moments[0] += 1
        if moments[0] > step:
            raise KeyboardInterrupt
        moment(*statements)

    with monkeypatch.context() as patched:
        patched.setattr(online, "brief", die)
        with pytest.raises(KeyboardInterrupt):
            upgrade(url)
    assert query(url, OLD_PROGRAM, "between") == [("between",)]
    assert query(url, OLD_PROGRAM, "d-3") == []
    query(url, "DELETE FROM decisions WHERE id = 'd-4'")
    upgrade(url)
    assert is_whole(url, 500)


def test_ids_are_filled_in_from_where_an_upgrade_ended(empty_database_url: str) -> None:
    url = empty_database_url
    fill(url, ROWS)
    query(
        url,
        "CREATE TABLE decision_ids (decision_id TEXT NOT NULL CHECK (decision_id <> 'd-19000'), experiment_id BIGINT NOT NULL,"
        " decided_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (decision_id, experiment_id))",
    )
    with pytest.raises(Conflict, match="run `loopwise migrate` again"):
        upgrade(url)
    ((filled,),) = query(url, "SELECT count(*) FROM decision_ids")
    assert 5_000 < filled < 19_000
    query(url, "ALTER TABLE decision_ids DROP CONSTRAINT decision_ids_decision_id_check")
    upgrade(url)
    assert is_whole(url, ROWS)


def test_a_dump_from_the_middle_of_an_upgrade_is_filled_whatever_its_comment_says(empty_database_url: str) -> None:
    url = empty_database_url
    fill(url, 500)
    query(
        url,
        "CREATE TABLE decision_ids (decision_id TEXT NOT NULL, experiment_id BIGINT NOT NULL, decided_at TIMESTAMPTZ NOT NULL,"
        " PRIMARY KEY (decision_id, experiment_id)); COMMENT ON TABLE decision_ids IS '1000000'",
    )
    upgrade(url)
    assert is_whole(url, 500)


def test_a_new_log_has_the_parts_of_this_month_and_the_next_and_nothing_for_programs_of_before(
    database_url: str,
) -> None:
    now = datetime.now(UTC)
    following = datetime(now.year + now.month // 12, now.month % 12 + 1, 1)
    months = [(f"decisions_{month:%Y_%m}",) for month in (now, following)]
    assert query(database_url, PARTS) == sorted([("decisions_default",), ("decisions_early",), *months])
    assert query(database_url, TRIGGERS) == [("decisions_deleted",)]


class TestAhead:
    """What the worker does to the partitions."""

    @pytest.fixture
    def this_month(self, loop: Loop) -> Iterator[str]:
        name = f"decisions_{datetime.now(UTC):%Y_%m}"
        yield name
        partitions.make_ahead(loop.runtime.engine)

    def test_decisions_of_a_month_without_a_part_are_stored_and_move_into_it(self, loop: Loop, this_month: str) -> None:
        """As after a month in which no worker ran, or with a clock that stepped ahead."""
        loop.make("away")
        query(
            loop.database_url,
            f"ALTER TABLE decisions DETACH PARTITION {this_month}; ALTER TABLE {this_month} RENAME TO gone",
        )
        loop.decide("away", [{"decision_id": f"away-{n}"} for n in range(3)])
        assert query(loop.database_url, "SELECT count(*) FROM decisions_default") == [(3,)]
        with ThreadPoolExecutor(3) as pool:
            names = [pool.submit(partitions.make_ahead, loop.runtime.engine) for _ in range(3)]
        assert sorted(name for each in names for name in each.result()) == [this_month]
        assert query(loop.database_url, "SELECT count(*) FROM decisions_default") == [(0,)]
        assert query(loop.database_url, f"SELECT count(*) FROM {this_month}") == [(3,)]
        query(loop.database_url, f"INSERT INTO {this_month} TABLE gone; DROP TABLE gone")
        loop.reward([{"decision_id": "away-1", "value": 1.0}])
        assert query(loop.database_url, "SELECT value FROM rewards WHERE decision_id = 'away-1'") == [(1.0,)]
        assert loop.audit("away").ok

    def test_nobody_waits_for_long_while_a_report_reads(self, loop: Loop, this_month: str) -> None:
        query(
            loop.database_url,
            f"ALTER TABLE decisions DETACH PARTITION {this_month}; ALTER TABLE {this_month} RENAME TO gone",
        )
        with loop.runtime.engine.begin() as reader:
            reader.execute(text("SELECT count(*) FROM decisions"))
            assert partitions.make_ahead(loop.runtime.engine) == []
        assert partitions.make_ahead(loop.runtime.engine) == [this_month]
        query(loop.database_url, f"INSERT INTO {this_month} TABLE gone; DROP TABLE gone")

    def test_a_clock_far_ahead_loses_no_decision(self, loop: Loop) -> None:
        loop.make("ahead")
        loop.decide("ahead", [{"decision_id": "ahead-1"}])
        move_decisions(loop.database_url, "'2099-12-31 23:59:59+00'", "d.id = 'ahead-1'")
        assert query(loop.database_url, "SELECT id FROM decisions_default") == [("ahead-1",)]
        assert partitions.make_ahead(loop.runtime.engine) == []
        loop.reward([{"decision_id": "ahead-1", "value": 1.0}])
        assert query(loop.database_url, "SELECT value FROM rewards WHERE decision_id = 'ahead-1'") == [(1.0,)]


def test_a_log_that_has_grown_is_sampled_as_a_whole(loop: Loop) -> None:
    """PostgreSQL itself samples each partition alone."""
    loop.make("grown")
    known = "SELECT count(*) FROM pg_stats WHERE tablename = 'decisions' AND inherited AND attname = 'arm'"
    assert query(loop.database_url, known) == [(0,)] and not partitions.sample_grown(loop.runtime.engine)
    query(
        loop.database_url,
        DECISION.format(id="'grown-' || n", number="n").replace("%%", "%") + " FROM generate_series(1, 3000) AS n",
    )
    query(loop.database_url, "SELECT pg_stat_force_next_flush()")
    assert partitions.sample_grown(loop.runtime.engine)
    assert query(loop.database_url, known) == [(1,)] and not partitions.sample_grown(loop.runtime.engine)
    query(loop.database_url, "DELETE FROM decisions WHERE id LIKE 'grown-%'")


class TestIds:
    """Decisions are unique by their ids over all partitions, and found through them."""

    def test_a_retry_in_another_month_gets_the_stored_answer(self, client: Client, database_url: str) -> None:
        client.make("border")
        first = client.decide("border", decision_id="border-1")
        move_decisions(database_url, "date_trunc('month', d.decided_at, 'UTC') - interval '1 ms'", "d.id = 'border-1'")
        assert query(database_url, "SELECT id FROM decisions_early") == [("border-1",)]
        again = client.decide("border", decision_id="border-1")
        assert (first.status, again.status) == (201, 200) and again.body["action"] == first.body["action"]
        assert query(database_url, "SELECT count(*) FROM decisions WHERE id = 'border-1'") == [(1,)]

    def test_an_id_that_comes_twice_in_one_statement_is_stored_once(self, loop: Loop) -> None:
        loop.make("twice")
        loop.decide("twice", [{"decision_id": "template"}])
        with loop.runtime.engine.begin() as connection:
            ((key, row),) = decisions.find_many(connection, _keys(loop, "template")).items()
            new = decisions.NewDecision(
                **{name: getattr(row, name) for name in decisions.NewDecision._fields if hasattr(row, name)}
                | {"id": "pair", "window_s": 60.0, "unit_known": True}
            )
            assert decisions.insert_new(connection, [new, new]) == {(key[0], "pair")}
            assert decisions.insert_new(connection, [new]) == set()
        assert query(loop.database_url, "SELECT count(*) FROM decisions WHERE id = 'pair'") == [(1,)]

    def test_what_one_call_decides_is_stored_in_its_order(self, loop: Loop) -> None:
        loop.make("order")
        names = [f"order-{n:02d}" for n in (7, 3, 9, 1, 5, 8, 2, 0, 6, 4)]
        loop.decide("order", [{"decision_id": name} for name in names])
        stored = query(loop.database_url, "SELECT d.id FROM decisions d WHERE d.id LIKE 'order-%' ORDER BY d.ctid")
        assert [name for (name,) in stored] == names

    def test_ids_without_a_decision_and_decisions_without_an_id_are_found(self, loop: Loop) -> None:
        loop.make("named")
        loop.decide("named", [{"decision_id": f"named-{n}"} for n in range(3)])
        assert loop.audit("named").ok and chain.audit_installation(loop.runtime.engine).ok
        query(loop.database_url, "UPDATE decision_ids SET decision_id = 'other' WHERE decision_id = 'named-1'")
        problems = loop.audit("named").findings + chain.audit_installation(loop.runtime.engine).findings
        query(loop.database_url, "UPDATE decision_ids SET decision_id = 'named-1' WHERE decision_id = 'other'")
        assert any("'named-1' is not in decision_ids" in problem for problem in problems)
        assert any("decision_ids belongs to decision 'other'" in problem for problem in problems)

    def test_a_look_up_by_id_reads_one_part(self, loop: Loop) -> None:
        experiment_id = loop.make("one-partition")
        loop.decide("one-partition", [{"decision_id": f"one-partition-{n}"} for n in range(3)])
        values = {"ids": "{one-partition-1}", "experiment_ids": f"{{{experiment_id}}}", "id": "one-partition-1"}
        values |= {"experiment_id": str(experiment_id)}
        statements = {
            "stored answer": f"SELECT d.id FROM {fragments.KEYS} {fragments.decision_of('k')}",
            "unanswered": f"SELECT d.id FROM decisions d WHERE {fragments.OF_KEYS}",
            "of ids": f"SELECT d.id FROM {fragments.DECISIONS_OF_IDS.replace('ANY(:ids)', 'ANY(CAST(:ids AS text[]))')}",
            "one": f"UPDATE decisions d SET confirmed = true WHERE {fragments.OF_ID}",
            "outcome": f"SELECT d.id FROM decision_ids o {fragments.decision_of('o', 'o.decided_at')}"
            " WHERE o.decision_id = :id AND o.experiment_id = :experiment_id",
        }
        with loop.runtime.engine.begin() as connection:
            connection.execute(text("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"))
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # as over a log that is not small
            for name, statement in statements.items():
                plan = connection.execute(text(f"EXPLAIN (ANALYZE, COSTS OFF) {statement}"), values).scalars().all()
                scans = [line for line in plan if " on decisions_" in line and "Scan" in line]
                executed = [line for line in scans if "never executed" not in line]
                assert len(executed) == 1, (name, "\n".join(plan))
            having = decisions.experiments_with(connection, ["one-partition-1"])
            assert having.span is not None
            spanned = f"EXPLAIN SELECT d.id FROM {fragments.KEYS} {fragments.decision_of('k', spanned=True)}"
            plan = connection.execute(text(spanned), values | having.span._asdict()).scalars().all()
            scans = [line for line in plan if " on decisions_" in line and "Scan" in line]
            assert len(scans) == 1, "with the span of the decisions, other parts are not even planned"


def _keys(loop: Loop, decision_id: str) -> list[tuple[int, str]]:
    (key,) = query(
        loop.database_url, "SELECT experiment_id, decision_id FROM decision_ids WHERE decision_id = %s", decision_id
    )
    return [(int(key[0]), str(key[1]))]
