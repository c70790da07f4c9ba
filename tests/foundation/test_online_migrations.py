"""An upgrade of a filled log: decisions go on in the meantime, and an upgrade that was killed begins again."""

from typing import Any

import pytest
from alembic import op

from app.foundation.store.migrate import upgrade
from benchmarks.migration import BEFORE, fill, waits_during
from tests.service import query

ROWS = 20_000
KEY = """
    SELECT string_agg(a.attname, ', ' ORDER BY k.place) FROM pg_constraint c
    CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
    WHERE c.conrelid = 'training_ledger'::regclass AND c.contype = 'p'
"""
INDEXES = """
    SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid IN ('decisions'::regclass, 'training_ledger'::regclass) ORDER BY c.relname
"""
EXPECTED = [
    ("decisions_contacts", True),
    ("decisions_experiment_time", True),
    ("decisions_pkey", True),
    ("decisions_unit", True),
    ("training_ledger_pkey", True),
    ("training_ledger_version", True),
]


def test_decisions_go_on_while_a_filled_log_is_upgraded(empty_database_url: str) -> None:
    fill(empty_database_url, ROWS)
    waits = waits_during(empty_database_url, lambda: upgrade(empty_database_url))
    assert waits.decisions > 10
    assert query(empty_database_url, "SELECT count(*) FROM decisions") == [(ROWS + waits.decisions,)]
    assert query(empty_database_url, INDEXES) == EXPECTED
    assert query(empty_database_url, KEY) == [("experiment_id, arm, generation, decision_id",)]


def test_an_upgrade_that_was_killed_begins_again(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps beside the writers are done already, and one index was left half built."""
    fill(empty_database_url, 100)

    def die(statement: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(op, "execute", die)
        with pytest.raises(KeyboardInterrupt):
            upgrade(empty_database_url)
    assert query(empty_database_url, "SELECT version_num FROM alembic_version") == [(BEFORE,)]
    query(
        empty_database_url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'decisions_contacts'::regclass"
    )
    upgrade(empty_database_url)
    assert query(empty_database_url, INDEXES) == EXPECTED
