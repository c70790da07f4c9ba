"""The audit reports nothing for a correct log, and names every change."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.service import Loop, bandit, query

EXPERIMENT = "audited"


@pytest.fixture(scope="module")
def experiment_id(loop: Loop) -> int:
    arms = [arm | {"share": 0.6} for arm in bandit()]
    arms.append({"key": "even", "share": 0.4, "policy": {"type": "uniform"}})
    made = loop.make(EXPERIMENT, arms=arms)
    for number in range(3):
        loop.more(EXPERIMENT, made, 60)
        loop.train(made, "even")
        own = [{"id": f"own-{n}", "features": {"n": n}} for n in range(4)]
        loop.decide(EXPERIMENT, [{"unit_id": f"own-{number}-{n}", "actions": own} for n in range(10)])
    loop.decide(EXPERIMENT, [{"defer_activation": True, "excluded_actions": ["a"]}] * 3)
    return made


def test_everything_matches(loop: Loop, experiment_id: int) -> None:
    report = loop.audit(EXPERIMENT)
    assert report.ok, report.findings
    assert (report.decisions, report.versions) == (213, 4)
    assert report.ledger_rows > 60


ONE = "(SELECT id FROM decisions WHERE experiment_id = :id AND arm = 'learned' AND policy_version > 0 ORDER BY id LIMIT 1)"
LEARNED = (
    "(SELECT decision_id FROM training_ledger JOIN rewards USING (decision_id) WHERE training_ledger.experiment_id = :id"
    " ORDER BY version_id DESC, position LIMIT 1)"
)
MODEL = "SET model = set_byte(model, length(model) / 2, (get_byte(model, length(model) / 2) + 1) % 256)"
# The first decision with a cost, because a decision that changed no weight could have had any context.
COSTLY = (
    "(SELECT decision_id FROM training_ledger WHERE experiment_id = :id AND reward = 0"
    " ORDER BY version_id, position LIMIT 1)"
)
CORRUPTIONS = {
    "a propensity": (f"UPDATE decisions SET propensity = propensity * 0.999 WHERE id = {ONE}", "propensity"),
    "an entry of a distribution": (
        f"UPDATE decisions SET distribution[1] = distribution[1] + 1e-12 WHERE id = {ONE}",
        "distribution differs",
    ),
    "a chosen action": (f"UPDATE decisions SET chosen = (chosen + 1) % 3 WHERE id = {ONE}", "draw gives"),
    "a draw": (f"UPDATE decisions SET draw = draw / 2 WHERE id = {ONE}", "draw gives"),
    "an arm": (f"UPDATE decisions SET arm = 'even' WHERE id = {ONE}", "another arm"),
    "a unit": (
        "UPDATE decisions SET unit_id = (SELECT unit_id FROM decisions WHERE experiment_id = :id AND arm = 'even' LIMIT 1)"
        f" WHERE id = {ONE}",
        "another arm",
    ),
    "a context that was learned from": (
        f"""UPDATE decisions SET context = '{{"n": 77}}' WHERE id = {COSTLY}""",
        "replaying the ledger gives other bytes",
    ),
    "the model that a decision names": (f"UPDATE decisions SET policy_sha256 = 'f' WHERE id = {ONE}", "SHA-256"),
    "a reward in the ledger": (
        f"UPDATE training_ledger SET reward = 0.5 WHERE decision_id = {LEARNED}",
        "was learned with reward 0.5",
    ),
    "a reward in the log": (f"UPDATE rewards SET value = 0.5 WHERE decision_id = {LEARNED}", "the log gives 0.5"),
    "a deleted reward": (
        "DELETE FROM rewards WHERE value = 1 AND decision_id IN (SELECT decision_id FROM training_ledger"
        " WHERE experiment_id = :id)",
        "the log gives 0.0",
    ),
    "a deleted line of the ledger": (f"DELETE FROM training_ledger WHERE decision_id = {LEARNED}", "the manifest says"),
    "the order of the ledger": (
        "UPDATE training_ledger SET position = -position WHERE experiment_id = :id",
        "replaying the ledger gives other bytes",
    ),
    "a deleted decision": (f"DELETE FROM decisions WHERE id = {LEARNED}", "the manifest says"),
    "a decision that waits for ever": (
        f"DELETE FROM awaiting_outcome WHERE decision_id = {ONE}; DELETE FROM outcomes WHERE decision_id = {ONE}",
        "not settled",
    ),
    "a byte of a model": (
        f"UPDATE model_versions {MODEL} WHERE experiment_id = :id AND number = 3",
        "version 3 of arm 'learned'",
    ),
    "a signature": (
        "UPDATE model_versions SET signature = repeat('0', 64) WHERE experiment_id = :id AND number = 2",
        "was not signed",
    ),
    "a model's parent": (
        "UPDATE model_versions SET parent_id = (SELECT id FROM model_versions WHERE experiment_id = :id AND number = 0)"
        " WHERE experiment_id = :id AND number = 3",
        "replaying the ledger gives other bytes",
    ),
}


@pytest.fixture
def restored(database_url: str) -> Iterator[None]:
    """Copies of the tables, put back after the test."""
    tables = (
        "decision_ids",
        "decisions",
        "rewards",
        "training_ledger",
        "model_versions",
        "outcomes",
        "awaiting_outcome",
    )
    for table in tables:
        query(database_url, f"CREATE TABLE IF NOT EXISTS copy_{table} AS TABLE {table}")
    yield
    for table in tables:
        query(database_url, f"TRUNCATE {table}")
        query(database_url, f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE copy_{table}")


@pytest.mark.parametrize("what", CORRUPTIONS)
@pytest.mark.usefixtures("restored")
def test_a_corruption_is_found_and_named(loop: Loop, experiment_id: int, what: str) -> None:
    statements, expected = CORRUPTIONS[what]
    with loop.runtime.engine.begin() as connection:
        for statement in statements.split(";"):
            assert connection.execute(text(statement), {"id": experiment_id}).rowcount >= (
                0 if ";" in statements else 1
            )
    report = loop.audit(EXPERIMENT)
    assert not report.ok
    assert any(expected in finding for finding in report.findings), report.findings
    assert not loop.audit(EXPERIMENT).ok


def test_an_audit_beside_running_training_reports_no_differences(loop: Loop) -> None:
    """The log grows, and versions appear, while the audit reads: it must read one snapshot."""
    from concurrent.futures import ThreadPoolExecutor

    experiment_id = loop.learn("audited-live")
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: [loop.more("audited-live", experiment_id, 20) for _ in range(15)])
        while not busy.done():
            report = loop.audit("audited-live")
            assert report.ok, report.findings
        assert len([report for report in busy.result() if report]) == 15
    assert loop.audit("audited-live").versions == 17


def test_a_changed_context_to_which_the_model_is_indifferent_breaks_the_seal(loop: Loop) -> None:
    loop.make("sealed")
    loop.decide("sealed", [{"decision_id": "sealed-1", "context": {"plan": "free"}}])
    query(loop.database_url, """UPDATE decisions SET context = '{"plan": "paid"}' WHERE id = 'sealed-1'""")
    report = loop.audit("sealed")
    assert report.decisions_differ == 1
    assert "seal" in report.findings[0]


def test_a_changed_outcome_of_an_arm_that_does_not_learn_is_found(loop: Loop) -> None:
    experiment_id = loop.make("outcomes")
    loop.decide("outcomes", [{"decision_id": f"outcome-{n}"} for n in range(3)])
    loop.reward([{"decision_id": "outcome-1", "value": 0.5}])
    loop.close_windows(experiment_id)
    loop.train(experiment_id, "all")
    assert loop.audit("outcomes").ok
    query(loop.database_url, "UPDATE outcomes SET reward = 1 WHERE decision_id = 'outcome-2'")
    report = loop.audit("outcomes")
    assert (report.outcomes, report.outcomes_differ, report.ok) == (3, 1, False)
