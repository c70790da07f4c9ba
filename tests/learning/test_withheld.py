"""Decisions of units without consent: which are settled, learned from and reported, and which are not."""

from typing import Any

import pytest

from app.foundation.store.engine import transaction
from app.learning.rebuild import rebuild_lineage
from app.registry.versions import describe
from tests.learning.feedback_support import THUMBS, TURNED, apply, change
from tests.service import Loop, bandit, query

TWO_ARMS = [arm | {"share": 0.5} for arm in bandit()] + [{"key": "even", "share": 0.5, "policy": {"type": "uniform"}}]
LEDGER = "SELECT decision_id, version_id > 0 FROM training_ledger WHERE experiment_id = %s AND generation = %s"
SETTLED = "SELECT decision_id FROM outcomes WHERE experiment_id = %s"


def restrict(loop: Loop, unit_id: str, *denied: str) -> None:
    query(loop.database_url, "DELETE FROM restrictions WHERE unit_id = %s", unit_id)
    if denied:
        query(loop.database_url, "INSERT INTO restrictions VALUES (%s, %s)", unit_id, list(denied))


def revoke(loop: Loop, unit_id: str, purpose: str, status: str = "revoked") -> None:
    """Record the answer as the consent service does."""
    query(
        loop.database_url,
        "INSERT INTO consents (unit_id, purpose, status, text_version, source, occurred_at, actor)"
        " VALUES (%s, %s, %s, '1', 'test', now(), 'test')",
        unit_id,
        purpose,
        status,
    )


def decide(loop: Loop, key: str, units: list[str]) -> dict[str, str]:
    """Decide and reward once per unit; returns the decision ids by unit."""
    decided = loop.decide(key, [{"unit_id": unit} for unit in units])
    loop.reward([{"decision_id": decision["decision_id"], "value": 0.5} for decision in decided])
    return {unit: str(decision["decision_id"]) for unit, decision in zip(units, decided, strict=True)}


def settle(loop: Loop, experiment_id: int, *arms: str) -> list[Any]:
    loop.close_windows(experiment_id)
    done = [loop.train(experiment_id, arm) for arm in arms]
    loop.runtime.snapshots.refresh()
    return done


def ledger(loop: Loop, experiment_id: int, generation: int = 0) -> dict[str, bool]:
    return dict(query(loop.database_url, LEDGER, experiment_id, generation))


def settled(loop: Loop, experiment_id: int) -> set[str]:
    return {row[0] for row in query(loop.database_url, SETTLED, experiment_id)}


def test_decisions_of_units_that_revoked_learning_are_settled_and_never_learned_from(loop: Loop) -> None:
    experiment_id = loop.make("no-learn", arms=bandit())
    ids = decide(loop, "no-learn", ["agrees", "revoked-later", "agrees-too"])
    restrict(loop, "revoked-later", "learn")
    (done,) = settle(loop, experiment_id, "learned")
    assert (done.number, done.decisions) == (1, 3)
    assert ledger(loop, experiment_id) == {
        ids["agrees"]: True,
        ids["revoked-later"]: False,
        ids["agrees-too"]: True,
    }
    assert settled(loop, experiment_id) == set(ids.values())
    (arm,) = describe(loop.runtime.engine, "no-learn")["arms"]
    assert (arm["versions"][-1]["examples"], arm["versions"][-1]["trained_on"]) == (2, 2)
    report = loop.audit("no-learn")
    assert report.ok, report.findings
    assert report.ledger_rows == 3
    restrict(loop, "revoked-later")
    assert loop.audit("no-learn").ok


def test_consent_given_later_does_not_apply_to_earlier_decisions(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("asked-late", arms=bandit())
    restrict(loop, "late-yes", "learn")
    revoke(loop, "late-yes", "learn")
    ids = decide(loop, "asked-late", ["late-yes"])
    assert query(database_url, "SELECT withheld FROM decisions WHERE id = %s", ids["late-yes"]) == [(["learn"],)]
    revoke(loop, "late-yes", "learn", "granted")
    restrict(loop, "late-yes")
    (done,) = settle(loop, experiment_id, "learned")
    assert (done.number, done.decisions) == (None, 1)  # nothing to learn: no version
    assert ledger(loop, experiment_id) == {ids["late-yes"]: False}
    assert loop.audit("asked-late").ok


@pytest.mark.parametrize(("key", "arms"), [("learning", bandit()), ("even", [TWO_ARMS[1] | {"share": 1.0}])])
def test_decisions_of_units_that_deny_analysis_have_no_outcome_and_may_still_be_learned_from(
    loop: Loop, database_url: str, key: str, arms: Any
) -> None:
    name, arm = f"no-analyse-{key}", arms[0]["key"]
    experiment_id = loop.make(name, arms=arms)
    ids = decide(loop, name, ["open", f"closed-{key}"])
    restrict(loop, f"closed-{key}", "analyse")
    settle(loop, experiment_id, arm)
    assert settled(loop, experiment_id) == {ids["open"]}
    if key == "learning":
        assert ledger(loop, experiment_id) == dict.fromkeys(ids.values(), True)
    assert query(database_url, "SELECT 1 FROM awaiting_outcome WHERE experiment_id = %s", experiment_id) == []
    report = loop.audit(name)
    assert report.ok, report.findings
    restrict(
        loop, f"closed-{key}"
    )  # a yes that came later does not bring the outcome back; the ledger of consent tells why
    assert loop.audit(name).unaccounted == 1
    revoke(loop, f"closed-{key}", "analyse", "denied")
    assert loop.audit(name).ok


def test_the_audit_still_finds_a_lost_outcome(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("lost", arms=TWO_ARMS)
    decide(loop, "lost", [f"u{n}" for n in range(12)])
    settle(loop, experiment_id, "learned", "even")
    assert loop.audit("lost").ok
    for arm in ("learned", "even"):
        query(
            database_url,
            "DELETE FROM outcomes WHERE decision_id = (SELECT min(decision_id) FROM outcomes"
            " WHERE experiment_id = %s AND arm = %s)",
            experiment_id,
            arm,
        )
    assert loop.audit("lost").unaccounted == 2
    query(
        database_url,
        "DELETE FROM training_ledger WHERE decision_id = (SELECT max(decision_id) FROM training_ledger"
        " WHERE experiment_id = %s)",
        experiment_id,
    )
    assert loop.audit("lost").unaccounted == 3


def test_a_rebuild_keeps_decisions_not_learned_and_leaves_out_units_that_revoked_since(loop: Loop) -> None:
    experiment_id = loop.make("forgets", arms=bandit(), feedback=THUMBS)
    ids = decide(loop, "forgets", ["a", "never-learned", "b", "c"])
    restrict(loop, "never-learned", "learn")
    settle(loop, experiment_id, "learned")
    restrict(loop, "never-learned")
    ids |= decide(loop, "forgets", ["d", "e"])
    settle(loop, experiment_id, "learned")
    restrict(loop, "b", "learn")
    change(loop, "forgets", TURNED)
    (done,) = apply(loop)
    assert done.rebuilt["learned"].decisions == 4
    expected = {ids[unit]: unit not in ("never-learned", "b") for unit in ids}
    assert ledger(loop, experiment_id, 1) == expected
    restrict(loop, "b")
    with transaction(loop.runtime.engine) as connection:
        again = rebuild_lineage(connection, loop.settings, experiment_id, "learned", reason="test")
    assert again.decisions == 4 and again.new_sha256 == again.old_sha256
    assert ledger(loop, experiment_id, 2) == expected
    report = loop.audit("forgets")
    assert report.ok, report.findings
    assert report.ledger_rows == 6
