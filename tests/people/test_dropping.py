"""Whole months of stripped decisions are dropped: the chain accounts for them, and everything else goes on."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import text

from app.foundation.store import partitions
from app.learning import refit
from app.people import dropping, erasure, retention
from app.verification import chain
from tests.people.test_erasure import rounds
from tests.service import Loop, bandit, query, runtime_of, settings

FIRST = "decisions_first"
LEFT = """
    SELECT (SELECT count(*) FROM rewards r WHERE r.experiment_id = %s AND NOT EXISTS (SELECT FROM decision_ids k
            WHERE k.decision_id = r.decision_id AND k.experiment_id = r.experiment_id)),
        (SELECT count(*) FROM training_ledger l WHERE l.experiment_id = %s AND NOT EXISTS (SELECT FROM decision_ids k
            WHERE k.decision_id = l.decision_id AND k.experiment_id = l.experiment_id))
"""
PARTS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'decisions'::regclass ORDER BY 1"


@pytest.fixture(scope="module")
def loop(database_url: str) -> Iterator[Loop]:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10", LOOPWISE_STATEMENT_TIMEOUT_S="20") as runtime:
        yield Loop(runtime, database_url)


def begin_part(url: str) -> datetime:
    """Let a partition of the log end now, and the next one begin; returns the moment."""
    ((now,),) = query(url, "SELECT clock_timestamp()")
    month, default = f"decisions_{now:%Y_%m}", partitions.DEFAULT
    start, end = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0), "2099-01-01 00:00:00+00"
    for name in [name for (name,) in query(url, PARTS) if name not in (partitions.EARLY, default)]:
        query(url, f"ALTER TABLE decisions DETACH PARTITION {name}; ALTER TABLE {name} RENAME TO old_{name}")
    query(url, f"CREATE TABLE {FIRST} PARTITION OF decisions FOR VALUES FROM ('{start}') TO ('{now}')")
    query(url, f"CREATE TABLE {month} PARTITION OF decisions FOR VALUES FROM ('{now}') TO ('{end}')")
    query(url, f"INSERT INTO decisions SELECT * FROM old_{month}")
    return now  # type: ignore[no-any-return]


def drop(loop: Loop) -> list[str]:
    return dropping.run(loop.runtime.engine, settings(loop.database_url, LOOPWISE_LOG_RETENTION_S="0.001"))


@pytest.fixture(scope="module")
def kept(loop: Loop) -> int:
    """An experiment with 80 stripped decisions in one partition of the log, and 40 later ones that are not."""
    made = loop.make("months", arms=bandit(), retention_s=86_400.0)
    rounds(loop, made, "months", 2)
    retention_s = "UPDATE experiment_configs SET config = jsonb_set(config::jsonb, '{retention_s}', %s)::json"
    query(loop.database_url, retention_s, "0")
    assert retention.run(loop.runtime.engine, loop.settings) == 80
    query(loop.database_url, retention_s, "86400")
    begin_part(loop.database_url)
    rounds(loop, made, "months", 1)
    assert loop.audit("months").ok
    return made


def test_nothing_is_dropped_unless_it_is_asked_for_and_nobody_keeps_people(loop: Loop, kept: int) -> None:
    assert dropping.run(loop.runtime.engine, loop.settings) == []
    stripped = "UPDATE decisions SET erased_at = {} WHERE id = (SELECT min(id) FROM decisions_first)"
    query(loop.database_url, stripped.format("NULL"))
    assert drop(loop) == []
    query(loop.database_url, stripped.format("clock_timestamp()"))
    with loop.runtime.engine.begin() as reader:  # a report that takes long: it is tried again later
        reader.execute(text("SELECT count(*) FROM decisions"))
        assert drop(loop) == []
        assert loop.audit("months").ok, "their rows do not count any more"


def test_a_dropped_month_is_accounted_for(loop: Loop, kept: int) -> None:
    assert drop(loop) == [partitions.EARLY, FIRST]
    assert drop(loop) == []
    assert query(loop.database_url, "SELECT count(*) FROM decisions") == [(40,)]
    assert query(loop.database_url, "SELECT count(*) FROM decision_ids") == [(40,)]
    assert query(loop.database_url, LEFT, kept, kept) == [(0, 0)]
    report = loop.audit("months")
    assert report.ok, report.findings
    assert report.decisions == 40 and report.dropped_before is not None and report.versions_erased >= 1
    assert chain.audit_installation(loop.runtime.engine).ok


def test_a_lesson_that_was_not_dropped_is_missed(loop: Loop, kept: int) -> None:
    query(loop.database_url, "CREATE TABLE aside AS SELECT * FROM training_ledger WHERE version_id <> 0 LIMIT 1")
    query(loop.database_url, "DELETE FROM training_ledger l USING aside a WHERE l.decision_id = a.decision_id")
    report = loop.audit("months")
    query(loop.database_url, "INSERT INTO training_ledger TABLE aside; DROP TABLE aside")
    assert any("were dropped" in finding for finding in report.findings)


def test_a_forged_link_drops_nothing(loop: Loop, kept: int) -> None:
    query(
        loop.database_url,
        "INSERT INTO log_links (kind, at, parts, tag) VALUES ('dropped', '2098-01-01', '{}', decode('00', 'hex'))",
    )
    report = loop.audit("months")
    query(loop.database_url, "DELETE FROM log_links WHERE at = '2098-01-01'")
    assert report.dropped_before is not None and report.dropped_before < "2098"
    assert report.chain_broken == 1


def test_the_loop_goes_on_after_a_drop(loop: Loop, kept: int) -> None:
    """An id is free again, rounds and rebuilds learn, and an erasure finds its unit."""
    (again,) = loop.decide("months", [{"decision_id": "months-0", "unit_id": "returns"}])
    assert again["decision_id"] == "months-0"
    loop.reward([{"decision_id": "months-0", "value": 1.0}])
    rounds(loop, kept, "months", 1)
    assert refit.rebuild_now(loop.runtime.engine, loop.settings, "months", "learned", "test") is not None
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "returns")
    assert len(erasure.run_waiting(loop.runtime.engine, loop.settings)) == 1
    assert query(loop.database_url, "SELECT count(*) FROM decision_ids WHERE decision_id = 'months-0'") == [(0,)]
    report = loop.audit("months")
    assert report.ok, report.findings
