"""Erasure: no trace of the unit, models as if it had never existed, a receipt, and an audit that confirms it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.design.definition_rules import parse_config
from app.foundation.errors import Unprocessable
from app.foundation.store.engine import transaction
from app.learning.examples import Configs, examples_of
from app.learning.store import training
from app.people import erasure, receipts, retention
from app.people.consent import record
from app.people.consent_request import ConsentRequest
from app.registry import signed_bytes as model_bytes
from app.registry.store import models
from app.reporting.whom import report as whom
from app.verification.audit import audit_experiment
from bandits.model import initial_model, learn
from bandits.policy import BanditPolicy, parse_policy
from tests.messaging.trigger_support import Triggers
from tests.service import Loop, bandit, definition, move_decisions, query

TABLES = (
    "decisions",
    "outcomes",
    "unit_sums",
    "feedback",
    "events",
    "firings",
    "deliveries",
    "consents",
    "restrictions",
)


def serving(loop: Loop, made: int) -> Any:
    """The learning arm's version in service."""
    with transaction(loop.runtime.engine) as connection:
        (version,) = models.serving(connection, experiment_id=made)
    return version


def rounds(loop: Loop, made: int, key: str, count: int = 3) -> None:
    """A few rounds of learning, in each of which the unit takes part."""
    for turn in range(count):
        decided = loop.decide(
            key,
            [
                {"unit_id": f"gone-{key}" if n % 5 == 0 else f"u{n}", "context": {"n": n % 3, "turn": turn}}
                for n in range(40)
            ],
        )
        loop.reward(
            [
                {"decision_id": decision["decision_id"], "value": float(decision["action"]["id"] == "b")}
                for decision in decided
            ]
        )
        loop.close_windows(made)
        loop.train(made)
        loop.runtime.snapshots.refresh()


def without_the_unit(loop: Loop, made: int) -> bytes:
    """The model that the log gives without the unit's decisions, learned here and not by the platform's rebuild."""
    with transaction(loop.runtime.engine) as connection:
        versions = [v for v in models.of_experiment(connection, made) if v.parent_id is not None]
        configs = Configs(connection, made)
        policy = parse_policy(versions[0].manifest["policy"])
        assert isinstance(policy, BanditPolicy)
        plain = initial_model(policy)
        for version in versions:
            kept = [
                (due, reward)
                for reward, due in next(training.rounds_of(connection, version.id, None))
                if not due.unit_id.startswith("gone")
            ]
            plain = learn(plain, policy, examples_of(policy, kept, configs))
    return plain


def test_the_receipts_model_is_the_one_that_never_saw_the_unit(loop: Loop) -> None:
    made = loop.make("forgets", arms=bandit())
    rounds(loop, made, "forgets")
    before = serving(loop, made)
    expected = model_bytes.pack(without_the_unit(loop, made), loop.settings.secret_key, made, "learned", 4).sha256
    erasure_answer = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone-forgets")
    assert erasure_answer.status == "waiting" and erasure_answer.receipt is None
    assert erasure.run_waiting(loop.runtime.engine, loop.settings) == [erasure_answer.erasure_id]
    receipt = erasure.look_up(loop.runtime.engine, loop.caller, erasure_answer.erasure_id).as_json()["receipt"]
    (model,) = receipt["models"]
    assert model["old"] == {"version": 3, "sha256": before.sha256}
    assert model["new"] == {"version": 4, "sha256": expected, "learned": 96}
    assert model["forgotten_versions"] == [1, 2, 3]
    assert receipt["signature"] == receipts.sign(loop.settings.secret_key, receipt)
    assert receipt["unit_hash"] == erasure.hash_of(
        loop.settings.secret_key, "gone-forgets"
    ) and "gone-forgets" not in str(receipt)
    assert serving(loop, made).sha256 == expected


def test_no_row_of_the_unit_remains(loop: Loop) -> None:
    made = loop.make("forgets-all", arms=bandit())
    rounds(loop, made, "forgets-all", 1)
    consent_body = {
        "unit_id": "gone-forgets-all",
        "purposes": {"message": "denied"},
        "text_version": "1",
        "source": "x",
    }
    record(loop.runtime.engine, loop.caller, ConsentRequest.model_validate(consent_body))
    url = loop.settings.database_url
    ids = [row[0] for row in query(url, "SELECT id FROM decisions WHERE unit_id = 'gone-forgets-all'")]
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone-forgets-all")
    whom.compute(loop.runtime.engine, loop.settings, "forgets-all")
    assert whom.stored(loop.runtime.engine, "forgets-all").computed_at is not None
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    assert whom.stored(loop.runtime.engine, "forgets-all").computed_at is None  # it may quote the unit's context
    for table in TABLES:
        assert query(url, f"SELECT count(*) FROM {table} WHERE unit_id = 'gone-forgets-all'") == [(0,)], table
    for table in ("rewards", "awaiting_outcome", "training_ledger", "outcomes", "decisions"):
        column = "id" if table == "decisions" else "decision_id"
        assert query(url, f"SELECT count(*) FROM {table} WHERE {column} = ANY(%s)", ids) == [(0,)], table
    assert query(url, "SELECT count(*) FROM erasures WHERE unit_id IS NOT NULL") == [(0,)]


def test_postgresqls_samples_forget_the_unit_too(loop: Loop) -> None:
    """The planner's most common values and histograms are in the database, and readable there."""
    made = loop.make("forgets-samples", arms=bandit())
    rounds(loop, made, "forgets-samples", 1)
    url = loop.settings.database_url
    query(url, "ANALYZE decisions")
    sampled = (
        "SELECT count(*) FROM pg_stats WHERE concat(most_common_vals, histogram_bounds) LIKE '%%gone-forgets-samples%%'"
    )
    assert query(url, sampled)[0][0] > 0
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone-forgets-samples")
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    assert query(url, sampled) == [(0,)]


def test_the_audit_says_erased_and_not_broken(loop: Loop) -> None:
    made = loop.make("forgets-audited", arms=bandit())
    rounds(loop, made, "forgets-audited")
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone-forgets-audited")
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    loop.runtime.snapshots.refresh()
    rounds(loop, made, "forgets-audited", 1)
    report = audit_experiment(loop.runtime.engine, loop.settings, "forgets-audited")
    assert report.ok, report.lines()
    assert (report.versions, report.versions_erased) == (6, 0)  # versions 1 to 3 were learned again
    assert report.decisions_erased == 64  # decisions of other units that the forgotten versions 1 and 2 made
    hidden = "UPDATE model_versions SET model = '', erased_at = now() WHERE experiment_id = %s AND number = 5"
    query(loop.settings.database_url, hidden, made)
    report = audit_experiment(loop.runtime.engine, loop.settings, "forgets-audited")
    assert not report.ok and "no receipt says so" in str(report.findings)


def test_while_it_waits_nothing_personal_is_decided_and_consent_changes_nothing(loop: Loop) -> None:
    loop.make(
        "forgets-soon", arms=[*bandit(), {"key": "plain", "share": 0.0, "policy": {"type": "fixed", "action": "c"}}]
    )
    erasure_answer = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "leaver")
    assert erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "leaver") == erasure_answer
    consent_body: dict[str, Any] = {"unit_id": "leaver", "text_version": "1", "source": "x"}
    consent_body["occurred_at"] = "2026-01-01T12:00:00Z"
    consent_body["purposes"] = dict.fromkeys(("personalise", "learn"), "granted")
    record(loop.runtime.engine, loop.caller, ConsentRequest.model_validate(consent_body))
    (decided,) = loop.decide("forgets-soon", [{"unit_id": "leaver", "context": {"n": 1}}])
    assert (decided["arm"], decided["action"]["id"]) == ("plain", "c")
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    (decided,) = loop.decide("forgets-soon", [{"unit_id": "leaver", "context": {"n": 1}}])
    assert decided["arm"] == "learned"


def test_a_killed_erasure_has_done_nothing(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop.make("forgets-killed", arms=bandit())
    rounds(loop, made, "forgets-killed", 2)
    before = serving(loop, made)
    erasure_answer = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone-forgets-killed")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("app.people.store.erasures.finish", die)
        with pytest.raises(KeyboardInterrupt):
            erasure.run_waiting(loop.runtime.engine, loop.settings)
    assert serving(loop, made) == before
    assert query(
        loop.settings.database_url, "SELECT count(*) FROM decisions WHERE unit_id = 'gone-forgets-killed'"
    ) == [(16,)]
    assert erasure.run_waiting(loop.runtime.engine, loop.settings) == [erasure_answer.erasure_id]
    assert serving(loop, made).number == 3


def test_a_failed_erasure_is_shown_retried_later_and_delays_no_other(loop: Loop) -> None:
    made, url = loop.make("forgets-not", arms=bandit()), loop.settings.database_url
    rounds(loop, made, "forgets-not", 1)
    ((signature,),) = query(url, "SELECT signature FROM model_versions WHERE experiment_id = %s AND number = 0", made)
    spoil = "UPDATE model_versions SET signature = %s WHERE experiment_id = %s AND number = 0"
    query(url, spoil, "0" * 64, made)
    engine, of, caller = loop.runtime.engine, loop.settings, loop.caller
    erasure_id = erasure.ask(engine, of, caller, "gone-forgets-not").erasure_id
    other = erasure.ask(engine, of, caller, "nobody").erasure_id
    assert erasure.run_waiting(engine, of) == [other]
    answer = erasure.look_up(engine, caller, erasure_id).as_json()
    assert answer["status"] == "waiting" and "was not signed" in answer["problem"] and answer["retry_at"]
    assert erasure.run_waiting(engine, of) == []  # its pause is not over
    pause = "SELECT extract(epoch FROM retry_at - clock_timestamp()) FROM erasures WHERE id = %s"
    for failed, wait_s in ((3, 80), (7, 1280), (5000, 3600)):
        query(url, "UPDATE erasures SET retry_at = clock_timestamp(), failures = %s WHERE id = %s", failed, erasure_id)
        assert erasure.run_waiting(engine, of) == []
        assert wait_s / 2 < query(url, pause, erasure_id)[0][0] <= wait_s
    query(url, spoil, signature, made)
    query(url, "UPDATE erasures SET retry_at = clock_timestamp() WHERE id = %s", erasure_id)
    assert erasure.run_waiting(engine, of) == [erasure_id]
    answer = erasure.look_up(engine, caller, erasure_id).as_json()
    assert (answer["status"], answer["problem"], answer["retry_at"]) == ("done", None, None)


@contextmanager
def shorter_retention(url: str, made: int) -> Iterator[None]:
    """A retention that ended for all but the newest 40 decisions; no definition may have one so short."""
    age = """(
        SELECT (extract(epoch FROM clock_timestamp() - decided_at))::text FROM decisions WHERE experiment_id = %s
        ORDER BY decided_at DESC OFFSET 40 LIMIT 1)"""
    swap = "UPDATE experiment_configs SET config = replace(config::text, {}, {})::json WHERE experiment_id = %s"
    ((before,),) = query(url, "SELECT config::text FROM experiment_configs WHERE experiment_id = %s", made)
    query(url, swap.format("'86400.0'", age), made, made)
    yield
    query(url, "UPDATE experiment_configs SET config = %s WHERE experiment_id = %s", before, made)


def test_after_its_time_a_decision_names_nobody_and_the_audit_knows(loop: Loop) -> None:
    made = loop.make("kept-a-day", arms=bandit(), retention_s=86_400.0)
    rounds(loop, made, "kept-a-day", 2)
    url = loop.settings.database_url
    assert retention.run(loop.runtime.engine, loop.settings) == 0
    time.sleep(1)
    rounds(loop, made, "kept-a-day", 1)
    with shorter_retention(url, made):
        assert retention.run(loop.runtime.engine, loop.settings) == 80
    named = "SELECT unit_id = '', count(*) FROM decisions WHERE experiment_id = %s GROUP BY 1 ORDER BY 1"
    assert query(url, named, made) == [(False, 40), (True, 80)]
    assert query(url, "SELECT count(*) FROM outcomes WHERE experiment_id = %s", made) == [(40,)]
    report = audit_experiment(loop.runtime.engine, loop.settings, "kept-a-day")
    assert report.ok and (report.decisions_erased, report.versions_erased) == (80, 2), report.lines()
    query(url, "UPDATE decisions SET propensity = 0.123 WHERE id = (SELECT min(id) FROM decisions WHERE unit_id = '')")
    assert not audit_experiment(loop.runtime.engine, loop.settings, "kept-a-day").ok


def test_events_and_ended_firings_go_after_their_time_but_for_those_that_a_metric_counts(loop: Loop) -> None:
    url = loop.settings.database_url
    counted = {"type": "event", "event": "purchase"}
    loop.make("counts-purchases", metrics=[{"key": "bought", "source": counted, "window_s": 86_400.0}])
    query(
        url,
        "INSERT INTO events (event_id, unit_id, name, properties, body_hash, occurred_at, received_at)"
        " VALUES ('bought', 'u', 'purchase', '{}', '', now(), now() - interval '200 days')",
    )
    query(
        url,
        "INSERT INTO events (event_id, unit_id, name, properties, body_hash, occurred_at, received_at)"
        " SELECT 'e' || n, 'u', 'x', '{}', '', now(), now() - n * interval '50 days' FROM generate_series(0, 3) n",
    )
    assert retention.forget_events(loop.runtime.engine, loop.settings) == 2
    assert query(url, "SELECT event_id FROM events ORDER BY 1") == [("bought",), ("e0",), ("e1",)]
    query(url, "DELETE FROM events WHERE event_id = 'bought'")


def test_a_milestone_fires_no_second_time_after_its_decision_was_forgotten(loop: Loop) -> None:
    """Its firing keeps only the cause, so that nothing leads from the unit to the decision any more."""
    work, url = Triggers(loop), loop.settings.database_url
    work.experiment("tips", retention_s=86_400.0)
    work.define("tenth", {"type": "milestone", "event": "lesson", "property": "n", "at_least": 10})
    work.define("each", {"type": "event", "event": "lesson"})
    reached = {"name": "lesson", "unit_id": "learner", "properties": {"n": 10, "name": "Ada"}}
    work.report(reached | {"event_id": "first"})
    assert (work.match(), work.fire()) == (2, 2)
    move_decisions(url, "d.decided_at - interval '2 days'", "d.unit_id = 'learner'")
    query(url, "DELETE FROM awaiting_outcome WHERE decision_id IN (SELECT id FROM decisions WHERE unit_id = 'learner')")
    assert retention.run(loop.runtime.engine, loop.settings) == 2
    kept = query(url, "SELECT id, cause, decision_id, request->>'variables' FROM firings WHERE unit_id = 'learner'")
    assert [row[1:] for row in kept] == [("learner", None, None)]
    assert query(url, "SELECT count(*) FROM decisions WHERE id LIKE %s", f"firing-{kept[0][0]}-%") == [(0,)]
    query(url, "DELETE FROM events")  # as it is after their time, too
    work.report(reached | {"event_id": "second"})
    assert work.match() == 1  # the other trigger's
    assert work.fire() == 1
    assert work.causes("tenth") == ["learner"]


def test_a_decision_on_how_long_to_wait_is_kept_as_long_as_its_firing_waits(loop: Loop) -> None:
    work, url = Triggers(loop), loop.settings.database_url
    work.experiment("tips-later")
    loop.make("waits", actions=[{"id": "long", "payload": {"wait_s": 2_000_000}}], retention_s=86_400.0)
    later = {"experiment": "waits"}
    work.define("slow", {"type": "event", "event": "slow"}, experiment="tips-later", delay_s=later)
    work.report({"name": "slow", "unit_id": "patient", "event_id": "slow-1"})
    assert (work.match(), work.fire()) == (1, 0)
    move_decisions(url, "d.decided_at - interval '2 days'", "d.unit_id = 'patient'")
    query(url, "DELETE FROM awaiting_outcome WHERE decision_id IN (SELECT id FROM decisions WHERE unit_id = 'patient')")
    assert retention.run(loop.runtime.engine, loop.settings) == 0
    query(url, "UPDATE firings SET due_at = clock_timestamp() WHERE unit_id = 'patient'")
    assert work.fire() == 1
    assert retention.run(loop.runtime.engine, loop.settings) == 1
    assert query(url, "SELECT count(*) FROM firings WHERE unit_id = 'patient'") == [(0,)]


def test_caps_may_not_look_back_beyond_the_retention() -> None:
    fatigue = {"caps": [{"limit": 1, "window_s": 604_800}]}
    actions = [{"id": "say", "template": {"texts": {"en": {"body": "x"}}}}, {"id": "nothing"}]
    with pytest.raises(Unprocessable) as caught:
        parse_config(definition("short", actions=actions, fatigue=fatigue, retention_s=86_400))
    assert [field.path for field in caught.value.fields] == ["/retention_s"]
    parse_config(definition("long", actions=actions, fatigue=fatigue, retention_s=604_800))
