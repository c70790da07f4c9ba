"""The chain: what somebody deletes, adds or edits in the database is found, also where nothing else in the log contradicts it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from app.accounts import keys
from app.foundation.settings import SettingError, from_environment
from app.foundation.store.engine import create
from app.people import erasure
from app.verification import chain, standing_audit
from app.verification.audit_report import AuditReport
from tests.service import Loop, query

TABLES = (
    "decision_ids",
    "decisions",
    "rewards",
    "feedback",
    "outcomes",
    "awaiting_outcome",
    "changes",
    "log_links",
    "log_anchors",
)
EXPERIMENT = "chained"


@pytest.fixture(scope="module")
def experiment_id(loop: Loop) -> int:
    """Settled decisions of an arm that does not learn; the chain began two hours ago."""
    query(loop.database_url, "UPDATE log_anchors SET at = at - interval '2 hours' WHERE number = 0")
    made = loop.make(EXPERIMENT)
    for turn in range(3):
        loop.decide(EXPERIMENT, [{"decision_id": f"made-{turn}-{n}", "unit_id": f"u{n}"} for n in range(5)])
        loop.reward([{"decision_id": f"made-{turn}-{n}", "value": 0.25} for n in range(4)])
    loop.close_windows(made)
    loop.train(made, "all")
    loop.decide(EXPERIMENT, [{"decision_id": f"open-{n}"} for n in range(3)])
    assert chain.anchor(loop.runtime.engine) == []
    return made


@pytest.fixture
def restored(database_url: str, experiment_id: int) -> Iterator[int]:
    """Copies of the tables, put back after the test."""
    for table in TABLES:
        query(database_url, f"DROP TABLE IF EXISTS copy_{table}; CREATE TABLE copy_{table} AS TABLE {table}")
    yield experiment_id
    for table in TABLES:
        query(database_url, f"TRUNCATE {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE copy_{table}")


def whole(loop: Loop, known: str | None = None) -> list[AuditReport]:
    """What `loopwise audit --full` checks of this experiment and of the installation."""
    return [loop.audit(EXPERIMENT), chain.audit_installation(loop.runtime.engine, known)]


def test_an_untouched_log_agrees_with_its_chain(loop: Loop, experiment_id: int) -> None:
    report, installation = whole(loop)
    assert report.ok and installation.ok, report.lines() + installation.lines()
    assert report.batches >= 3 + 3 + 1 + 1  # decisions, rewards, outcomes, changes
    assert report.before_chain == 0


# A whole decision goes: nothing that is left contradicts itself.
WITHOUT = ";".join(
    f"DELETE FROM {table} WHERE {column} = 'made-1-2'"
    for table, column in (("decisions", "id"), ("rewards", "decision_id"), ("outcomes", "decision_id"))
)
LINK = "(SELECT decided_at FROM decisions WHERE id = 'made-1-2')"
FORGERIES = {
    "a decision, its reward and its outcome": (WITHOUT, "decisions stored at"),
    "decisions that wait": (
        "DELETE FROM awaiting_outcome WHERE decision_id LIKE 'open-%%'; DELETE FROM decisions WHERE id LIKE 'open-%%'",
        "0 rows, the chain has 3",
    ),
    "a reward and its outcome, both edited": (
        "UPDATE rewards SET value = 1 WHERE decision_id = 'made-0-0'; "
        "UPDATE outcomes SET reward = 1 WHERE decision_id = 'made-0-0'",
        "4 rows, of another content",
    ),
    "a reward that came too late, made punctual": (
        "UPDATE rewards SET late = true WHERE decision_id = 'made-0-0'; "
        "UPDATE outcomes SET reward = 0, events = 0 WHERE decision_id = 'made-0-0'",
        "rewards stored at",
    ),
    "an added reward": (
        "INSERT INTO rewards SELECT decision_id, 'more', experiment_id, metric, 0.5, occurred_at, clock_timestamp(), false"
        " FROM rewards WHERE decision_id = 'made-0-1';"
        " UPDATE outcomes SET reward = 0.75, events = 2 WHERE decision_id = 'made-0-1'",
        "1 rows, the chain has 0",
    ),
    "an added reward that claims to be old": (
        "INSERT INTO rewards SELECT decision_id, 'more', experiment_id, metric, 0.5, occurred_at,"
        " clock_timestamp() - interval '1 day', false FROM rewards WHERE decision_id = 'made-0-1'",
        "a row of rewards belongs to decision 'made-0-1', which is not there, or is younger",
    ),
    "a line of the experiment's history": (
        "DELETE FROM changes WHERE kind = 'experiment_start'",
        "changes stored at",
    ),
    "who changed it": ("UPDATE changes SET actor = 'somebody' WHERE experiment_id IS NOT NULL", "of another content"),
    "outcomes without decisions": (
        "DELETE FROM decisions WHERE id = 'made-2-4'",
        "a row of outcomes belongs to decision",
    ),
    "a decision and its links": (
        f"DELETE FROM log_links WHERE at = {LINK}; DELETE FROM rewards WHERE decision_id LIKE 'made-1-%%'; "
        "DELETE FROM outcomes WHERE decision_id LIKE 'made-1-%%'; DELETE FROM decisions WHERE id LIKE 'made-1-%%'",
        "links, the table has",
    ),
    "a link with another count": (
        f"""UPDATE log_links SET parts = jsonb_set(parts, '{{%(id)s,0}}', '4') WHERE at = {LINK}; {WITHOUT}""",
        "does not match its signature",
    ),
    "an anchor": ("DELETE FROM log_anchors WHERE number = 1", "anchor 1 of the chain: it is missing"),
    "when the chain began": ("UPDATE log_anchors SET at = clock_timestamp() WHERE number = 0", "anchor 1 of the chain"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_is_found_and_named(loop: Loop, restored: int, what: str) -> None:
    statements, expected = FORGERIES[what]
    for statement in statements.replace("%(id)s", str(restored)).split(";"):
        query(loop.database_url, statement.replace("%%", "%"))
    reports = whole(loop)
    assert not all(report.ok for report in reports)
    findings = [finding for report in reports for finding in report.findings]
    assert any(expected in finding for finding in findings), findings


def test_the_trail_of_changes_of_no_experiment_is_sealed_too(loop: Loop, restored: int) -> None:
    keys.create_key(loop.runtime.engine, scopes=["decide"], experiment_key=None, name="made")
    assert chain.audit_installation(loop.runtime.engine).ok
    query(loop.database_url, "DELETE FROM changes WHERE experiment_id IS NULL")
    assert not chain.audit_installation(loop.runtime.engine).ok


def test_an_older_state_put_back_is_known_by_an_anchor_that_was_noted(loop: Loop, restored: int) -> None:
    """It agrees with itself: only what stands elsewhere tells."""
    loop.decide(EXPERIMENT, [{"decision_id": "last"}])
    chain.anchor(loop.runtime.engine)
    noted = chain.newest_anchor(loop.runtime.engine)
    assert all(report.ok for report in whole(loop, noted))
    newest = int(noted.partition(":")[0])
    query(loop.database_url, "DELETE FROM awaiting_outcome WHERE decision_id = 'last'")
    query(loop.database_url, "DELETE FROM decisions WHERE id = 'last'")
    query(loop.database_url, "DELETE FROM log_links WHERE anchor = %s", newest)
    query(loop.database_url, "DELETE FROM log_anchors WHERE number = %s", newest)
    assert all(report.ok for report in whole(loop))
    assert "an older state" in whole(loop, noted)[1].findings[0]


def test_an_erasure_stands_in_the_chain(loop: Loop, restored: int) -> None:
    loop.decide(
        EXPERIMENT, [{"decision_id": "of-gone", "unit_id": "gone"}, {"decision_id": "beside", "unit_id": "stays"}]
    )
    loop.reward([{"decision_id": "of-gone", "value": 0.5}, {"decision_id": "beside", "value": 0.5}])
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone")
    assert erasure.run_waiting(loop.runtime.engine, loop.settings)
    assert query(loop.database_url, "SELECT count(*) FROM decisions WHERE id = 'of-gone'") == [(0,)]
    assert all(report.ok for report in whole(loop)), [report.lines() for report in whole(loop)]
    query(loop.database_url, "DELETE FROM log_links WHERE parts->%s->>0 = '-1'", str(restored))
    assert not loop.audit(EXPERIMENT).ok


def test_the_standing_audit_checks_the_newest_links_and_anchors(loop: Loop, restored: int) -> None:
    engine, of = loop.runtime.engine, loop.settings
    assert chain.anchor(engine) == []
    assert standing_audit.run(engine, of, EXPERIMENT).ok
    loop.decide(EXPERIMENT, [{"decision_id": "new"}])
    query(loop.database_url, "DELETE FROM awaiting_outcome WHERE decision_id = 'new'")
    query(loop.database_url, "DELETE FROM decisions WHERE id = 'new'")
    report = standing_audit.run(engine, of, EXPERIMENT)
    assert (report.ok, report.batches_differ) == (False, 1)
    query(
        loop.database_url, "DELETE FROM log_links WHERE id = (SELECT max(id) FROM log_links WHERE anchor IS NOT NULL)"
    )
    broken = chain.anchor(engine)
    assert len(broken) == 1 and standing_audit.run(engine, of, EXPERIMENT, broken).chain_broken == 1


def test_rows_from_before_the_chain_are_counted_and_no_difference(loop: Loop, restored: int) -> None:
    """As after an upgrade: an old log has no links, and its rows may go and be settled again."""
    query(loop.database_url, "DELETE FROM log_links; DELETE FROM log_anchors WHERE number > 0")
    query(loop.database_url, "UPDATE log_anchors SET at = clock_timestamp() WHERE number = 0")
    report = loop.audit(EXPERIMENT)
    assert report.ok and report.before_chain > 40, report.lines()
    assert any("rows from before the chain" in line for line in report.lines())


def test_a_process_without_the_secret_key_writes_no_link(loop: Loop) -> None:
    keyless = create(loop.database_url, from_environment({"DATABASE_URL": loop.database_url}))
    before = query(loop.database_url, "SELECT count(*) FROM api_keys")
    with pytest.raises(SettingError):
        keys.create_key(keyless, scopes=["decide"], experiment_key=None, name="forged")
    assert query(loop.database_url, "SELECT count(*) FROM api_keys") == before
    with keyless.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    keyless.dispose()
