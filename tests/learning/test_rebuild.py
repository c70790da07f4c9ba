"""A changed feedback schema joins outcomes again and rebuilds models, without losing a decision."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.foundation.store.engine import transaction
from app.learning.rebuild import rebuild_lineage
from app.registry import versions as models
from app.registry.versions import describe
from app.reporting import feedback_report, home
from app.verification import replay
from tests.learning.feedback_support import THUMBS, TURNED, answered_round, apply, change, say
from tests.service import ROOT, SECRET, Loop, bandit, query, wait_for

OUTCOMES = "SELECT decision_id, reward, events, feedback_version FROM outcomes WHERE experiment_id = %s"
TWO_ARMS = [arm | {"share": 0.6} for arm in bandit()] + [{"key": "even", "share": 0.4, "policy": {"type": "uniform"}}]


def outcomes(loop: Loop, experiment_id: int) -> dict[str, tuple[float, int, int]]:
    return {row[0]: row[1:] for row in query(loop.database_url, OUTCOMES, experiment_id)}


def versions(loop: Loop, key: str) -> list[dict[str, Any]]:
    return list(describe(loop.runtime.engine, key)["arms"][0]["versions"])


@contextmanager
def refusing(database_url: str, experiment_id: int, units: list[str]) -> Iterator[None]:
    """Meanwhile these units of an experiment, or all, deny that anything is learned from them."""
    denied = """
        INSERT INTO restrictions (unit_id, denied)
        SELECT DISTINCT unit_id, ARRAY['learn'] FROM outcomes WHERE experiment_id = %s AND (unit_id = ANY(%s) OR %s = '{}')
    """
    query(database_url, denied, experiment_id, units, units)
    yield
    query(database_url, "DELETE FROM restrictions")


def rebuild(loop: Loop, experiment_id: int) -> Any:
    with transaction(loop.runtime.engine) as connection:
        done = rebuild_lineage(connection, loop.settings, experiment_id, "learned", reason="test")
    loop.runtime.snapshots.refresh()
    return done


def test_answers_in_time_are_joined_with_rewards_under_the_applied_schema(loop: Loop) -> None:
    experiment_id = loop.make("joined", feedback=THUMBS | {"confidence": 0.5, "stars": [0, 0.25, 0.5, 0.75, 1.0]})
    both, answered, silent, late, twice = (decision["decision_id"] for decision in loop.decide("joined", [{}] * 5))
    up = {"kind": "thumbs", "value": "up"}
    loop.reward([{"decision_id": both, "value": 0.25}])
    say(loop, [{"decision_id": decision_id, **up} for decision_id in (both, answered)])
    say(loop, [{"decision_id": twice, **up, "occurred_at": "2026-01-01T00:00:01Z"}])
    down = {"decision_id": twice, "kind": "thumbs", "value": "down", "occurred_at": "2026-01-01T00:00:00Z"}
    say(loop, [down, {"decision_id": twice, "kind": "stars", "value": 2}])
    loop.close_windows(experiment_id)
    (receipt,) = say(loop, [{"decision_id": late, **up}])
    assert receipt["late"] is True
    loop.train(experiment_id, "all")
    assert outcomes(loop, experiment_id) == {
        both: (0.75, 2, 1),
        answered: (0.5, 1, 1),
        silent: (0.0, 0, 1),
        late: (0.0, 0, 1),
        twice: (0.625, 2, 1),
    }
    report = loop.audit("joined")
    assert report.ok, report.findings


def test_without_a_schema_an_answer_changes_no_reward(loop: Loop) -> None:
    experiment_id = loop.make("kept")
    (decision,) = loop.decide("kept", [{}])
    say(loop, [{"decision_id": decision["decision_id"], "kind": "stars", "value": 5}])
    loop.close_windows(experiment_id)
    loop.train(experiment_id, "all")
    assert outcomes(loop, experiment_id) == {decision["decision_id"]: (0.0, 0, 0)}
    assert loop.audit("kept").ok


@pytest.mark.parametrize(
    "policy",
    [
        bandit(),
        bandit("softmax", lambda_=5),
        bandit("squarecb"),
        bandit("bag", bags=3),
        bandit("cover"),
        bandit("first", explore_first=30),
        bandit("regcb"),
    ],
    ids=lambda arms: arms[0]["policy"]["algorithm"],
)
def test_a_rebuild_gives_the_same_bytes_as_the_rounds_that_it_replaces(loop: Loop, policy: Any) -> None:
    key = f"same-{policy[0]['policy']['algorithm']}"
    experiment_id = loop.make(key, arms=policy, feedback=THUMBS)
    for _ in range(4):
        answered_round(loop, key, experiment_id, 25)
    done = rebuild(loop, experiment_id)
    assert (done.number, done.decisions, done.promoted) == (5, 100, True)
    assert done.new_sha256 == done.old_sha256
    answered_round(loop, key, experiment_id, 25)
    again = rebuild(loop, experiment_id)
    assert again.decisions == 125 and again.new_sha256 == again.old_sha256 != done.new_sha256
    report = loop.audit(key)
    assert report.ok, report.findings
    assert (report.versions, report.ledger_rows) == (8, 125)


def test_another_schema_is_applied_to_the_whole_log_while_the_old_model_serves(loop: Loop) -> None:
    experiment_id = loop.make("turned", arms=TWO_ARMS, feedback=THUMBS)
    for _ in range(3):
        answered_round(loop, "turned", experiment_id, 80)
        loop.train(experiment_id, "even")
    before = outcomes(loop, experiment_id)
    change(loop, "turned", TURNED)
    answered_round(loop, "turned", experiment_id, 20)  # not applied yet: joined under the old one
    (arm,) = describe(loop.runtime.engine, "turned")["arms"]
    assert (arm["serving"], outcomes(loop, experiment_id) | before) == (4, outcomes(loop, experiment_id))
    assert {outcome[2] for outcome in outcomes(loop, experiment_id).values()} == {1}
    (done,) = apply(loop)
    assert (done.version, done.outcomes) == (2, len(outcomes(loop, experiment_id)))
    rebuilt = done.rebuilt["learned"]
    assert rebuilt.promoted and rebuilt.new_sha256 != rebuilt.old_sha256
    after = outcomes(loop, experiment_id)
    assert {outcome[2] for outcome in after.values()} == {2}
    assert any(after[name][0] != reward for name, (reward, _, _) in before.items())
    (arm,) = describe(loop.runtime.engine, "turned")["arms"]
    assert (arm["serving"], arm["versions"][-1]["kind"], arm["versions"][-1]["parent"]) == (5, "rebuild", 0)
    manifest = arm["versions"][-1]["manifest"]
    assert (manifest["generation"], manifest["feedback_version"], manifest["replaces"]) == (1, 2, 4)
    assert manifest["reason"] == "feedback schema 2"
    assert apply(loop) == []
    probes = loop.decide("turned", [{"unit_id": f"probe-{n}", "context": {"n": 1}} for n in range(20)])
    assert {probe["policy_version"] for probe in probes if probe["arm"] == "learned"} == {5}
    loop.train(experiment_id, "even")
    answered_round(loop, "turned", experiment_id, 20)
    report = loop.audit("turned")
    assert report.ok, report.findings
    assert report.versions == 7
    query(loop.database_url, "UPDATE outcomes SET feedback_version = 1 WHERE experiment_id = %s", experiment_id)
    assert loop.audit("turned").outcomes_differ > 0


def test_adding_or_removing_a_schema_makes_a_new_version_of_it(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("later", arms=bandit())
    answered_round(loop, "later", experiment_id, 40)
    first = outcomes(loop, experiment_id)
    change(loop, "later", THUMBS)
    assert [applied.version for applied in apply(loop)] == [1]
    assert outcomes(loop, experiment_id) != first
    change(loop, "later", THUMBS | {"limit": 7, "mute_s": 60.0})  # about intake: nothing to compute
    assert apply(loop) == []
    change(loop, "later", None)
    assert [applied.version for applied in apply(loop)] == [2]
    again = outcomes(loop, experiment_id)
    assert {name: outcome[:2] for name, outcome in again.items()} == {
        name: outcome[:2] for name, outcome in first.items()
    }
    incremental, first_rebuild, second_rebuild = versions(loop, "later")[1:]
    assert second_rebuild["sha256"] == incremental["sha256"] != first_rebuild["sha256"]
    assert loop.audit("later").ok


def test_only_the_newest_of_several_changed_schemas_is_applied(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("hasty", arms=bandit(), feedback=THUMBS)
    answered_round(loop, "hasty", experiment_id, 20)
    for worth in (0.1, 0.2, 0.3):
        change(loop, "hasty", {"thumbs": {"up": worth, "down": 0.0}, "limit": 10_000})
    assert [(applied.version, applied.rebuilt["learned"].number) for applied in apply(loop)] == [(4, 2)]
    assert apply(loop) == []
    assert loop.audit("hasty").ok


def test_a_changed_schema_of_a_draft_is_applied_at_once(loop: Loop, database_url: str) -> None:
    from app.design import experiments
    from tests.service import definition

    engine = loop.runtime.engine
    experiment = experiments.create(engine, loop.settings, definition("drafted", feedback=THUMBS), "test")
    experiments.change(engine, loop.settings, "drafted", {"feedback": TURNED}, "test")
    schemas = "SELECT version, applied_at IS NOT NULL FROM feedback_schemas WHERE experiment_id = %s ORDER BY 1"
    assert query(database_url, schemas, experiment.id) == [(1, True), (2, True)]
    assert apply(loop) == []


def test_a_rebuild_leaves_out_versions_that_a_rollback_abandoned(loop: Loop) -> None:
    experiment_id = loop.make("back", arms=bandit(), feedback=THUMBS)
    for _ in range(2):
        answered_round(loop, "back", experiment_id, 20)
    models.rollback(loop.runtime.engine, "back", "learned", 1, "worse", "test")
    answered_round(loop, "back", experiment_id, 20)
    done = rebuild(loop, experiment_id)
    assert done.decisions == 40 and done.new_sha256 == done.old_sha256
    report = loop.audit("back")
    assert report.ok, report.findings
    assert report.ledger_rows == 60
    models.rollback(loop.runtime.engine, "back", "learned", 2, "better after all", "test")  # of the generation before
    answered_round(loop, "back", experiment_id, 20)
    again = rebuild(loop, experiment_id)
    assert again.decisions == 60 and again.new_sha256 == again.old_sha256
    assert loop.audit("back").ok


def test_a_rebuild_does_not_learn_from_decisions_that_must_be_left_out(loop: Loop, database_url: str) -> None:
    """The new version has the same bytes as a model that never saw these decisions."""
    for key in ("with", "never"):
        loop.make(key, arms=bandit(), feedback=THUMBS)
    ids = dict(query(database_url, "SELECT key, id FROM experiments WHERE key IN ('with', 'never')"))
    for number in range(3):
        for key in ("with", "never"):
            bodies = [
                {
                    "decision_id": f"{key}-{number}-{n}",
                    "unit_id": f"u{n}",
                    "context": {"n": n},
                    "excluded_actions": ["b", "c"],
                }
                for n in range(20)
                if key == "with" or n % 4
            ]
            loop.decide(key, bodies)
            rewards = {str(body["decision_id"]): int(str(body["unit_id"])[1:]) / 20 for body in bodies}
            loop.reward([{"decision_id": name, "value": value} for name, value in rewards.items()])
            loop.close_windows(ids[key])
            loop.train(ids[key])
    with refusing(database_url, ids["with"], [f"u{n}" for n in range(0, 20, 4)]):
        done = rebuild(loop, ids["with"])
    assert (done.decisions, done.promoted) == (45, True)
    assert done.new_sha256 == versions(loop, "never")[-1]["sha256"]
    not_learned = "SELECT count(*) FROM training_ledger WHERE experiment_id = %s AND generation = 1 AND version_id = 0"
    assert query(database_url, not_learned, ids["with"]) == [(15,)]
    report = loop.audit("with")
    assert report.ok, report.findings


def test_a_rebuild_without_any_decision_gives_the_untrained_model(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("emptied", arms=bandit())
    answered_round(loop, "emptied", experiment_id, 10)
    with refusing(database_url, experiment_id, []):
        done = rebuild(loop, experiment_id)
    first, _, last = versions(loop, "emptied")
    assert (done.decisions, done.promoted, last["sha256"], last["examples"]) == (0, True, first["sha256"], 0)
    (decision,) = loop.decide("emptied", [{}])
    assert [item["probability"] for item in decision["ranking"]] == pytest.approx([1 / 3] * 3)
    answered_round(loop, "emptied", experiment_id, 10)
    report = loop.audit("emptied")
    assert report.ok, report.findings


def test_no_round_runs_during_a_rebuild_and_the_next_round_uses_the_new_schema(loop: Loop) -> None:
    from app.learning.store import training

    experiment_id = loop.make("beside", arms=bandit(), feedback=THUMBS)
    answered_round(loop, "beside", experiment_id, 10)
    loop.decide("beside", [{}] * 10)
    loop.close_windows(experiment_id)
    with transaction(loop.runtime.engine) as connection:
        training.lock_every_lineage(connection, experiment_id)
        assert loop.train(experiment_id) is None
    change(loop, "beside", TURNED)
    apply(loop)
    assert loop.train(experiment_id).decisions == 10
    assert {outcome[2] for outcome in outcomes(loop, experiment_id).values()} == {2}
    assert loop.audit("beside").ok


STATE = (
    "SELECT (SELECT count(*) FROM model_versions WHERE experiment_id = %s),"
    " (SELECT json_agg(l ORDER BY arm)::text FROM lineages l WHERE experiment_id = %s),"
    " (SELECT md5(string_agg(o::text, ',' ORDER BY decision_id)) FROM outcomes o WHERE experiment_id = %s),"
    " (SELECT md5(string_agg(t::text, ',' ORDER BY decision_id)) FROM training_ledger t WHERE experiment_id = %s),"
    " (SELECT json_agg(s ORDER BY version)::text FROM feedback_schemas s WHERE experiment_id = %s)"
)
HALF_WAY = """
import sys, time
from app.learning import rebuild
from app.foundation.settings import from_environment
from app.foundation.store.engine import create
def stop(*_, **__):
    print("half way", flush=True)
    time.sleep(600)
rebuild.promote = stop
settings = from_environment()
rebuild.apply_schema(create(settings.database_url, settings), settings, int(sys.argv[1]))
"""


def test_a_killed_rebuild_changes_nothing_and_the_next_one_completes(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("killed", arms=bandit(), feedback=THUMBS)
    answered_round(loop, "killed", experiment_id, 40)
    change(loop, "killed", TURNED)
    before = query(database_url, STATE, *[experiment_id] * 5)
    environment = {**os.environ, "DATABASE_URL": database_url, "LOOPWISE_SECRET_KEY": SECRET, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", HALF_WAY, str(experiment_id)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and "half way" in process.stdout.readline()
        loop.decide("killed", [{}])  # what serves goes on serving
        assert loop.train(experiment_id) is None
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: _free(database_url), 30, "the end of the killed transaction")
    assert query(database_url, STATE, *[experiment_id] * 5) == before
    (done,) = apply(loop)
    assert done.rebuilt["learned"].promoted
    report = loop.audit("killed")
    assert report.ok, report.findings


def _free(database_url: str) -> bool:
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7205763 AND mode = 'ExclusiveLock'"
    return query(database_url, locks) == [(0,)]


def test_a_replay_shows_answers_and_their_current_value(loop: Loop) -> None:
    experiment_id = loop.make("shown", arms=bandit(), feedback=THUMBS)
    (decision,) = loop.decide("shown", [{}])
    name = decision["decision_id"]
    say(loop, [{"decision_id": name, "kind": "thumbs", "value": "up", "comment": "<b>good</b>"}])

    def look() -> Any:
        return replay.replay(loop.runtime.engine, loop.settings, "shown", name).rewards

    assert (look().so_far, look().settled, look().feedback[0].comment) == (1.0, None, "<b>good</b>")
    loop.close_windows(experiment_id)
    loop.train(experiment_id)
    assert (look().so_far, look().settled.reward, look().settled.feedback_version) == (1.0, 1.0, 1)
    change(loop, "shown", TURNED)
    apply(loop)
    replayed = look()
    assert (replayed.so_far, replayed.settled.reward, replayed.learned.number, replayed.serves_it) == (
        0.0,
        0.0,
        2,
        True,
    )
    assert json.dumps(replayed.settled.feedback_version) == "2"


def test_a_rebuild_leaves_out_decisions_that_retention_has_stripped(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("aged", arms=bandit(), feedback=THUMBS)
    own = [{"id": f"own-{n}", "features": {"n": n}} for n in range(3)]
    (aged,) = loop.decide("aged", [{"unit_id": "aged", "actions": own, "context": {"n": 1}}])
    answered_round(loop, "aged", experiment_id, 20)
    query(
        database_url,
        "UPDATE decisions SET unit_id = '', context = '{}', actions = NULL, erased_at = now() WHERE id = %s",
        aged["decision_id"],
    )
    query(database_url, "DELETE FROM outcomes WHERE decision_id = %s", aged["decision_id"])
    change(loop, "aged", TURNED)
    (done,) = apply(loop)
    assert (done.outcomes, done.rebuilt["learned"].decisions, done.rebuilt["learned"].promoted) == (20, 20, True)
    ledger_version = "SELECT version_id FROM training_ledger WHERE decision_id = %s ORDER BY generation DESC LIMIT 1"
    assert query(database_url, ledger_version, aged["decision_id"]) == [(0,)]


def test_a_failed_rebuild_is_reported_and_the_old_model_keeps_serving(loop: Loop, database_url: str) -> None:
    experiment_id = loop.make("broken", arms=bandit(), feedback=THUMBS)
    answered_round(loop, "broken", experiment_id, 20)
    spoil = "UPDATE model_versions SET signature = %s WHERE experiment_id = %s AND number = 0"
    ((signature,),) = query(
        database_url, "SELECT signature FROM model_versions WHERE experiment_id = %s AND number = 0", experiment_id
    )
    before = outcomes(loop, experiment_id)
    query(database_url, spoil, "0" * 64, experiment_id)
    change(loop, "broken", TURNED)
    assert apply(loop) == []
    (arm,) = describe(loop.runtime.engine, "broken")["arms"]
    assert (arm["serving"], outcomes(loop, experiment_id)) == (1, before)
    report = feedback_report.stored(loop.runtime.engine, "broken").in_force.as_json()
    assert (
        (report["version"], report["being_computed"]) == (1, 2)
        and "was not signed" in report["problem"]
        and report["retry_at"]
    )
    (badge,) = [badge for badge in home.badges_of(loop.runtime.engine, "broken") if badge.tab == "feedback"]
    assert badge.kind == "bad" and "was not signed" in badge.text
    query(database_url, spoil, signature, experiment_id)
    assert apply(loop) == []  # its pause is not over
    query(database_url, "UPDATE feedback_schemas SET retry_at = clock_timestamp() WHERE retry_at IS NOT NULL")
    assert [applied.version for applied in apply(loop)] == [2]
    (arm,) = describe(loop.runtime.engine, "broken")["arms"]
    assert (arm["serving"], arm["problem"]) == (2, None)
    assert feedback_report.stored(loop.runtime.engine, "broken").in_force.problem is None
    assert not [badge for badge in home.badges_of(loop.runtime.engine, "broken") if badge.tab == "feedback"]
