"""A staged candidate decides with the very model that was valued, and the log proves it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict, Unprocessable
from app.foundation.store.engine import transaction
from app.guardian.store import staleness
from app.learning import refit
from app.learning.examples import Configs
from app.off_policy import candidate_policies, evaluations
from app.off_policy.documents import StagingAnswer
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.life import attaching, staging
from app.off_policy.log_table import build
from app.off_policy.policies import Policies
from app.off_policy.store import evaluations as store
from app.people import erasure
from app.people.consent import record
from app.people.consent_request import ConsentRequest
from app.registry import signed_bytes as model_bytes
from app.registry.store import experiments, models
from bandits.encoding import encode_action, encode_context
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, parse_policy
from tests.lab import Lab, arm
from tests.off_policy.test_evaluations import BANDIT, bodies, world
from tests.service import ROOT, SECRET, query

SQUARE = BANDIT | {"algorithm": "squarecb", "parameters": {"bits": 12}}
AUTO = {"type": "bandit"}
LINES = [encode_action(action, {"size": "abc".index(action)}) for action in "abc"]
NEW = [{"unit_id": f"new{n}", "context": {"group": "xy"[n % 2], "noise": n % 7}} for n in range(60)]


def filled(lab: Lab, key: str, *specs: dict[str, Any], turns: int = 2, rows: int = 400) -> int:
    """An experiment of a learning, a fixed and a uniform arm, with candidates that were valued; returns its id."""
    arms = [arm("learned", 0.4, BANDIT), arm("control", 0.3, "a"), arm("uniform", 0.3)]
    made = lab.make(key, arms=arms, control_arm="control")
    for turn in range(turns):
        lab.play(key, bodies(rows, f"{key}{turn}-"), world(turn))
    for spec in specs:
        candidate_policies.add(lab.runtime.engine, key, CandidateSpec.model_validate(spec), "test")
    if specs:
        evaluate(lab, key)
    return made


def evaluate(lab: Lab, key: str) -> dict[str, Any]:
    asked = evaluations.ask(lab.runtime.engine, key, EvaluationRequest(), "test")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    found = evaluations.get(lab.runtime.engine, key, asked.id).as_json()
    assert found["status"] == "done", found["error"]
    return {line["policy"]: line for line in found["result"]["policies"]}


def stage(lab: Lab, key: str, name: str, share: float = 0.5) -> StagingAnswer:
    asked = staging.stage(lab.runtime.engine, lab.settings, key, name, share, "test")
    if asked.status == "waiting":
        assert attaching.run_waiting(lab.runtime.engine, lab.settings) == [name]
    lab.runtime.snapshots.refresh()
    return staging.get(lab.runtime.engine, key, name)


def valued_model(lab: Lab, key: str, name: str) -> tuple[BanditPolicy, bytes]:
    """The model that an evaluation of a candidate ends with, by its own loop over the stages."""
    with transaction(lab.runtime.engine) as connection:
        experiment = experiments.find(connection, key)
        assert experiment is not None
        policies = Policies(connection, lab.settings, experiment, ExperimentConfig.model_validate(experiment.config))
        rows = store.log_rows(connection, experiment.id, 100_000)
        early, late = build(rows, Configs(connection, experiment.id), policies.version).split(0.5)
        spec = next(one for one in candidate_policies.listed(lab.runtime.engine, key) if one.key == name)
        forward = policies.candidate(spec, early).forward
    assert forward is not None
    for _ in forward.stages(late):
        pass
    return forward.policy, forward.model


def decided(lab: Lab, key: str, name: str) -> list[tuple[Any, ...]]:
    """The decisions of an arm: context, distribution, version, hash."""
    return query(
        lab.database_url,
        "SELECT context, distribution, policy_version, policy_sha256 FROM decisions d JOIN experiments e"
        " ON e.id = d.experiment_id WHERE e.key = %s AND arm = %s ORDER BY decided_at, d.id",
        key,
        name,
    )


def sound_audit(lab: Lab, key: str) -> None:
    report = lab.audit(key)
    assert report.ok, report


@pytest.mark.parametrize(
    "spec",
    [
        {"key": "square", "policy": SQUARE},
        {"key": "blind", "policy": SQUARE, "features_off": ["group"]},
        {"key": "scaled", "policy": SQUARE | {"scaling": True}},
        {"key": "race", "policy": AUTO},
        {"key": "blind-race", "policy": AUTO, "features_off": ["noise"]},
    ],
    ids=lambda spec: spec["key"],
)
def test_its_first_decisions_have_exactly_the_evaluated_distribution(lab: Lab, spec: dict[str, Any]) -> None:
    key, name = f"stage-{spec['key']}", spec["key"]
    made = filled(lab, key, spec)
    policy, plain = valued_model(lab, key, name)
    line = evaluate(lab, key)[name]
    lab.play(key, bodies(50, "later-"), world(9))  # the log goes on between the evaluation and the stage
    done = stage(lab, key, name)
    with transaction(lab.runtime.engine) as connection:
        version = models.find(connection, made, name, 1)
    assert version is not None
    assert done.status == "staged" and done.sha256 == line["model"]["sha256"] == version.sha256
    assert version.manifest["evaluation"] == done.evaluation and version.manifest["decisions"] == 800
    lab.play(key, NEW, settled=False)
    rows, predictor = decided(lab, key, name), Predictor(plain, policy)
    assert len(rows) > 15
    for context, chances, number, sha256 in rows:
        expected = distribution(policy, predictor, encode_context(context), LINES, list("abc"))
        assert chances == expected.tolist() and (number, sha256) == (1, version.sha256)
    assert len({tuple(row[1]) for row in rows}) > 1
    if name == "blind":  # contexts that differ in what it does not see
        assert len({(row[0]["noise"], *row[1]) for row in rows}) == len({row[0]["noise"] for row in rows})
    sound_audit(lab, key)
    lab.settle(key)  # learning goes on from there, in rounds
    with transaction(lab.runtime.engine) as connection:
        (serving,) = (row for row in models.serving(connection, experiment_id=made) if row.arm == name)
    assert serving.number > 1 and serving.examples == 800 + len(rows)
    sound_audit(lab, key)


AUDIT = """
import json
from app.foundation.settings import from_environment
from app.foundation.store.engine import create
from app.verification.audit import audit_experiment
settings = from_environment()
report = audit_experiment(create(settings.database_url, settings), settings, "other-process")
print(json.dumps([report.ok, report.versions, report.versions_differ]))
"""


def test_another_process_replays_the_model_to_the_same_hash(lab: Lab) -> None:
    filled(lab, "other-process", {"key": "race", "policy": AUTO}, {"key": "square", "policy": SQUARE})
    assert stage(lab, "other-process", "race").status == stage(lab, "other-process", "square").status == "staged"
    environment = {"DATABASE_URL": lab.database_url, "LOOPWISE_SECRET_KEY": SECRET, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", AUDIT], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    ok, versions, differ = json.loads(done.stdout.splitlines()[-1])
    assert ok and differ == 0 and versions == 7  # untrained and two rounds; untrained and staged, twice


def test_a_stored_version_becomes_an_arm_that_serves_it_and_learns_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"key": "second", "model": {"arm": "learned", "version": 2}, "features_off": ["noise"]}
    made = filled(lab, "stage-version", spec)
    done = stage(lab, "stage-version", "second")
    with transaction(lab.runtime.engine) as connection:
        source = models.find(connection, made, "learned", 2)
    assert source is not None and (done.status, done.sha256, done.evaluation) == ("staged", source.sha256, None)
    lab.play("stage-version", NEW, world(3))
    rows = decided(lab, "stage-version", "second")
    assert {row[2:] for row in rows} == {(1, source.sha256)}
    with transaction(lab.runtime.engine) as connection:
        _, plain = model_bytes.load(connection, source.id, lab.settings.secret_key)
    policy = parse_policy(BANDIT)
    assert isinstance(policy, BanditPolicy)
    predictor = Predictor(plain, policy)
    for context, chances, *_ in rows:
        seen = encode_context({"group": context["group"]})
        assert chances == distribution(policy, predictor, seen, LINES, list("abc")).tolist()
    with transaction(lab.runtime.engine) as connection:
        (serving,) = (row for row in models.serving(connection, experiment_id=made) if row.arm == "second")
    assert serving.number == 1
    monkeypatch.setattr(staleness, "STALE_S", 0.0)
    monkeypatch.setattr(staleness, "LEAST", 0)
    with transaction(lab.runtime.engine) as connection:
        assert list(staleness.why(connection, made)) == ["learned"]  # what is not to learn does not lag behind
    sound_audit(lab, "stage-version")


def test_an_erasure_reaches_what_a_staged_model_learned_from_other_arms(lab: Lab) -> None:
    specs = ({"key": "square", "policy": SQUARE}, {"key": "second", "model": {"arm": "learned", "version": 1}})
    made = filled(lab, "stage-erased", *specs)
    for spec in specs:
        stage(lab, "stage-erased", spec["key"], 0.2)
    lab.play("stage-erased", NEW, world(4))
    unit = query(
        lab.database_url,
        "SELECT unit_id FROM decisions d JOIN training_ledger l ON l.decision_id = d.id AND l.experiment_id = %s"
        " JOIN model_versions m ON m.id = l.version_id AND m.number = 1 AND m.arm = 'learned' LIMIT 1",
        made,
    )[0][0]
    with transaction(lab.runtime.engine) as connection:
        before = {v.arm: v for v in models.of_experiment(connection, made) if v.number == 1}
    asked = erasure.ask(lab.runtime.engine, lab.settings, lab.caller, unit)
    assert erasure.run_waiting(lab.runtime.engine, lab.settings) == [asked.erasure_id]
    receipt = erasure.look_up(lab.runtime.engine, lab.caller, asked.erasure_id).as_json()["receipt"]
    assert [model["arm"] for model in receipt["models"]] == ["learned", "second", "square"]
    with transaction(lab.runtime.engine) as connection:
        after = {v.arm: v for v in models.of_experiment(connection, made) if v.number == 1}
        policy = parse_policy(after["square"].manifest["policy"])
    assert isinstance(policy, BanditPolicy)
    assert all(after[name].sha256 != before[name].sha256 for name in after)
    assert after["square"].manifest["decisions"] == before["square"].manifest["decisions"] - 2
    assert after["second"].sha256 == after["learned"].sha256
    assert query(lab.database_url, "SELECT count(*) FROM decisions WHERE unit_id = %s", unit) == [(0,)]
    sound_audit(lab, "stage-erased")


def test_what_was_not_valued_is_refused_and_a_changed_log_too(lab: Lab) -> None:
    filled(lab, "stage-refused", {"key": "square", "policy": SQUARE})
    engine, key = lab.runtime.engine, "stage-refused"
    for spec in ({"key": "fresh", "policy": SQUARE}, {"key": "square", "policy": SQUARE | {"exploration_floor": 0.2}}):
        candidate_policies.add(engine, key, CandidateSpec.model_validate(spec), "test")
        with pytest.raises(Unprocessable, match="no evaluation has valued"):
            staging.stage(engine, lab.settings, key, spec["key"], 0.1, "test")
    lines = evaluate(lab, key)
    floors = [lines[name]["model"]["policy"]["exploration_floor"] for name in ("fresh", "square")]
    assert floors == [0.1, 0.2]
    assert staging.stage(engine, lab.settings, key, "fresh", 0.1, "test").status == "waiting"
    unit = query(lab.database_url, "SELECT unit_id FROM decisions WHERE unit_id LIKE 'stage-refused%%' LIMIT 1")[0][0]
    erasure.ask(engine, lab.settings, lab.caller, unit)
    erasure.run_waiting(engine, lab.settings)
    assert attaching.run_waiting(engine, lab.settings) == []
    failed = staging.get(engine, key, "fresh")
    assert failed.status == "failed" and "evaluate the candidate again" in (failed.problem or "")
    assert [one["key"] for one in query_arms(lab, key)] == ["learned", "control", "uniform"]
    evaluate(lab, key)
    assert stage(lab, key, "fresh", 0.1).status == "staged"
    with pytest.raises(Conflict, match="is an arm of the experiment already"):
        staging.stage(engine, lab.settings, key, "fresh", 0.1, "test")


def query_arms(lab: Lab, key: str) -> list[dict[str, Any]]:
    with transaction(lab.runtime.engine) as connection:
        experiment = experiments.find(connection, key)
    assert experiment is not None
    return list(experiment.config["arms"])


def test_a_rebuild_of_a_staged_arm_learns_the_same_decisions_with_the_same_propensities(lab: Lab) -> None:
    made = filled(lab, "stage-rebuilt", {"key": "square", "policy": SQUARE})
    staged = stage(lab, "stage-rebuilt", "square")
    refit.rebuild_now(lab.runtime.engine, lab.settings, "stage-rebuilt", "square", "test")
    with transaction(lab.runtime.engine) as connection:
        (serving,) = (row for row in models.serving(connection, experiment_id=made) if row.arm == "square")
    assert (serving.number, serving.examples, serving.sha256) == (2, 800, staged.sha256)
    sound_audit(lab, "stage-rebuilt")


def test_what_a_unit_forbids_to_learn_from_is_valued_and_not_learned(lab: Lab) -> None:
    made = filled(lab, "stage-denied")
    denied = {"unit_id": "stage-denied0-0", "purposes": {"learn": "denied"}, "text_version": "1", "source": "x"}
    record(lab.runtime.engine, lab.caller, ConsentRequest.model_validate(denied))
    spec = CandidateSpec.model_validate({"key": "square", "policy": SQUARE})
    candidate_policies.add(lab.runtime.engine, "stage-denied", spec, "test")
    asked = evaluations.ask(lab.runtime.engine, "stage-denied", EvaluationRequest(), "test")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    result = evaluations.get(lab.runtime.engine, "stage-denied", asked.id).result
    assert result is not None and result.window.trained_on + result.window.evaluated_on == 800
    assert stage(lab, "stage-denied", "square").status == "staged"
    with transaction(lab.runtime.engine) as connection:
        version = models.find(connection, made, "square", 1)
    assert version is not None and version.manifest["decisions"] == version.examples == 798
    sound_audit(lab, "stage-denied")
