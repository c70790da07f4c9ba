"""Upgrades of a filled log to revision 0027: decisions go on in the meantime, and an upgrade that was killed begins again."""

from typing import Any

import psycopg2
import pytest
from alembic import op
from sqlalchemy import text

from app.foundation.store import old_keys
from app.foundation.store.migrate import upgrade
from benchmarks.migration import DECISION, fill, waits_during
from migrations import online
from tests.service import engine_of, query

ROWS = 20_000
BEFORE = "0004"
LAST = "0027"  # the next one: tests/foundation/test_partitions.py
KEY = """
    SELECT string_agg(a.attname, ', ' ORDER BY k.place) FROM pg_constraint c
    CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
    WHERE c.conrelid = %s::regclass AND c.contype = 'p'
"""
INDEXES = """
    SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid IN ('decisions'::regclass, 'training_ledger'::regclass) ORDER BY c.relname
"""
EXPECTED = [
    ("decisions_contacts", True),
    ("decisions_experiment_time", True),
    ("decisions_old_key", True),
    ("decisions_pkey", True),
    ("decisions_unit", True),
    ("training_ledger_pkey", True),
    ("training_ledger_version", True),
]


def test_decisions_go_on_while_a_filled_log_is_upgraded(empty_database_url: str) -> None:
    fill(empty_database_url, ROWS, BEFORE)
    waits = waits_during(empty_database_url, lambda: upgrade(empty_database_url, LAST), "(id)")
    assert waits.decisions > 10
    assert query(empty_database_url, "SELECT count(*) FROM decisions") == [(ROWS + waits.decisions,)]
    assert query(empty_database_url, INDEXES) == EXPECTED
    assert query(empty_database_url, KEY, "training_ledger") == [("experiment_id, arm, generation, decision_id",)]
    assert query(empty_database_url, KEY, "decisions") == [("id, experiment_id",)]


def test_keys_are_swapped_one_after_the_other_however_often_the_upgrade_is_killed(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(empty_database_url, 100, BEFORE)
    upgrade(empty_database_url, "0015")
    swap, swaps, killed = online.brief, [0], 0

    def swap_once(*statements: str) -> None:
        swaps[0] += 1
        if swaps[0] > 1:
            raise KeyboardInterrupt
        swap(*statements)

    monkeypatch.setattr(online, "brief", swap_once)
    while query(empty_database_url, KEY, "decisions") == [("id",)]:
        swaps[0] = 0
        try:
            upgrade(empty_database_url, "0016")
        except KeyboardInterrupt:
            killed += 1
            query(empty_database_url, f"{SAME_ID} ON CONFLICT (id) DO NOTHING", "d-1")  # decisions go on
    assert killed == 4
    monkeypatch.undo()
    upgrade(empty_database_url, LAST)
    for table in ("decisions", "rewards", "feedback", "awaiting_outcome"):
        ((key,),) = query(empty_database_url, KEY, table)
        assert "experiment_id" in key.split(", "), table
    assert query(empty_database_url, INDEXES) == EXPECTED


SAME_ID = DECISION.format(id="%s", number="1").replace(" 1, 1,", " 2, 1,")


def test_ids_are_unique_per_experiment_once_the_programs_of_before_are_gone(empty_database_url: str) -> None:
    """For an hour after the upgrade an id stays unique over all experiments: those programs join by it alone."""
    fill(empty_database_url, 100, BEFORE)
    upgrade(empty_database_url, LAST)
    same_id = f"{SAME_ID} ON CONFLICT (id) DO NOTHING"  # as those programs say it
    query(empty_database_url, same_id, "d-1")
    assert query(empty_database_url, "SELECT experiment_id FROM decisions WHERE id = 'd-1'") == [(1,)]
    with engine_of(empty_database_url) as engine:
        assert old_keys.drop_due(engine) == []
        query(empty_database_url, "COMMENT ON INDEX decisions_old_key IS '2020-01-01 00:00+00'")
        with engine.begin() as reader:  # a report that takes long
            reader.execute(text("SELECT 1 FROM decisions LIMIT 1"))
            assert old_keys.drop_due(engine) == []
        assert old_keys.drop_due(engine) == ["decisions_old_key"]
        assert old_keys.drop_due(engine) == []
    query(empty_database_url, SAME_ID, "d-1")
    assert query(empty_database_url, "SELECT experiment_id FROM decisions WHERE id = 'd-1' ORDER BY 1") == [(1,), (2,)]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        query(empty_database_url, SAME_ID, "d-1")


def test_every_row_that_belongs_to_a_decision_has_a_key_with_its_experiment(database_url: str) -> None:
    for table in ("decision_ids", "rewards", "feedback", "awaiting_outcome", "outcomes", "training_ledger"):
        ((key,),) = query(database_url, KEY, table)
        assert "experiment_id" in key.split(", "), table
    assert query(database_url, "SELECT count(*) FROM pg_class WHERE relname LIKE '%old_key'") == [(0,)]


def test_an_upgrade_that_was_killed_begins_again(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps beside the writers are done already, and one index was left half built."""
    fill(empty_database_url, 100, BEFORE)

    def die(statement: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(op, "execute", die)
        with pytest.raises(KeyboardInterrupt):
            upgrade(empty_database_url, LAST)
    assert query(empty_database_url, "SELECT version_num FROM alembic_version") == [(BEFORE,)]
    query(
        empty_database_url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'decisions_contacts'::regclass"
    )
    upgrade(empty_database_url, LAST)
    assert query(empty_database_url, INDEXES) == EXPECTED
