"""Gives staged candidates the models that were valued: what the worker does. See ``app.off_policy.life.staging``."""

import hashlib
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.store import feedback_schemas
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.learning.store import rebuilds, training
from app.learning.training import canaries, learner_part
from app.off_policy.documents import ValuedModel
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest, policy_of
from app.off_policy.evaluations import log_of
from app.off_policy.life.arms import NewArm, add_arm, begin_lineage, check_new_arm, spec_of, valued_of
from app.off_policy.life.waiting import tried
from app.off_policy.log_table import LogTable, build
from app.off_policy.policies import Forward, Policies
from app.off_policy.store import candidates as store
from app.registry.lookup import stored_experiment
from app.registry.store import experiments, models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import STAGED, NewVersion, VersionInfo
from bandits.encoding import ENCODING_VERSION
from bandits.policy import BanditPolicy, policy_to_json
from bandits.safety import check_model
from experiments.validation import DataError

KIND = "staging"


def run_waiting(engine: Engine, settings: Settings) -> list[str]:
    """Learn the model of every candidate that waits, and make it an arm; returns their keys."""
    with transaction(engine) as connection:
        rows = store.waiting(connection)
    return [row.key for row in rows if _tried(engine, settings, row)]


def _tried(engine: Engine, settings: Settings, row: store.Waiting) -> bool:
    def note(problem: str) -> None:
        with transaction(engine) as connection:
            asked = store.staging(connection, row.experiment_id, row.key)
            if asked is not None:
                store.set_staging(connection, row.experiment_id, row.key, asked | {"problem": problem})

    whose = {"experiment_id": row.experiment_id, "candidate": row.key}
    return tried(lambda: _stage_waiting(engine, settings, row), note, "staging_failed", **whose)


def _stage_waiting(engine: Engine, settings: Settings, row: store.Waiting) -> bool:
    """Learn the model that was valued, and make the candidate an arm that begins with it.

    The lock is that of a round: an erasure, and whatever else changes what was learned, comes before or after.
    """
    with transaction(engine) as connection:
        if not training.lock_lineage(connection, row.experiment_id, row.key):
            return False
        asked = store.staging(connection, row.experiment_id, row.key)
        if asked is None or asked.get("problem"):
            return False
        experiment = experiments.by_id(connection, row.experiment_id)
        spec = spec_of(connection, experiment, row.key)
        lesson = _learn_again(connection, settings, experiment, spec)
        if lesson.sha256 != asked["sha256"]:
            raise DataError(
                "the log is not the one that the candidate was valued on: units were erased, or rewards were joined again",
                fix="evaluate the candidate again, and stage it then",
            )
        platform.next_revision(connection)
        experiment = stored_experiment(connection, experiment.key, lock=True)
        check_new_arm(experiment, row.key)
        share, actor = float(str(asked["share"])), str(asked["actor"])
        arm = NewArm(row.key, share, policy_to_json(lesson.forward.policy), actor)
        add_arm(connection, settings, experiment, arm)
        _attach(connection, settings, experiment, row.key, lesson)
        store.set_staging(connection, experiment.id, row.key, None)
        return True


class _Lesson(NamedTuple):
    """What a staged candidate has learned."""

    evaluation_id: int
    valued: ValuedModel
    forward: Forward
    table: LogTable
    sha256: str  # of its bytes


def _learn_again(
    connection: Connection, settings: Settings, experiment: StoredExperiment, spec: CandidateSpec
) -> _Lesson:
    found = valued_of(connection, experiment.id, spec)
    if found is None:
        raise DataError("no evaluation has valued it", fix="evaluate the candidate, and stage it then")
    request, valued = EvaluationRequest.model_validate(found.request), ValuedModel.model_validate(found.model)
    config = ExperimentConfig.model_validate(experiment.config)
    policies = Policies(connection, settings, experiment, config)
    rows = log_of(connection, experiment.id, request, datetime.fromisoformat(valued.settled_until))
    table = build(rows, Configs(connection, experiment.id), policies.version)
    early, late = table.split(request.train_share)
    policy = policy_of(spec)
    assert isinstance(policy, BanditPolicy), "only a policy that learns waits for its model"
    forward = Forward(policy, config, early)
    sha256 = hashlib.sha256(forward.learn_all(late)).hexdigest()
    return _Lesson(found.evaluation_id, valued, forward, table, sha256)


def _attach(
    connection: Connection, settings: Settings, experiment: StoredExperiment, arm: str, lesson: _Lesson
) -> None:
    """Store the model as the first trained version of the new arm, with its ledger, and let it serve."""
    forward, table, policy = lesson.forward, lesson.table, lesson.forward.policy
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment.id) if row.arm == arm)
    root = models.by_id(connection, serving.version_id)
    learned = [index for index, row in enumerate(table.rows) if row.learns]
    shown = canaries(table.examples(forward.config))
    report = check_model(forward.model, policy, shown, trained=bool(learned))
    if not report.ok:
        raise DataError("; ".join(report.problems), fix="choose another policy")
    before = training.current_generation(connection, experiment.id, arm)
    again = rebuilds.has_ledger(connection, experiment.id, arm)  # it was an arm, and went back to being a candidate
    generation = before.following() if again else before
    manifest = _manifest(lesson, root, [table.rows[index].id for index in learned])
    manifest["generation"] = generation.number
    manifest["feedback_version"] = feedback_schemas.applied_version(connection, experiment.id)
    manifest |= learner_part(forward.model, policy)
    checks = report._asdict() | {"canaries": len(shown)}
    version = NewVersion(experiment.id, arm, 1, root.id, STAGED, len(learned), manifest, checks)
    version_id = begin_lineage(connection, settings, version, forward.model)
    for first in range(0, len(learned), rebuilds.SLICE):
        part = [table.rows[index] for index in learned[first : first + rebuilds.SLICE]]
        chances = [table.logged[index] for index in learned[first : first + rebuilds.SLICE]]
        mixtures = {row.id: p[: len(row.eligible)].tolist() for row, p in zip(part, chances, strict=True)}
        rewards = [(row.id, row.reward) for row in part]
        training.write_ledger(connection, generation, version_id, rewards, first, mixtures)
    if again:
        rebuilds.begin_generation(connection, before)


def _manifest(lesson: _Lesson, root: VersionInfo, learned: list[str]) -> JsonObject:
    """Where the model came from, and what a replay needs besides the ledger to get the same bytes.

    :param learned: ids of the decisions.
    """
    return {
        "kind": STAGED,
        "evaluation": lesson.evaluation_id,
        "valued_sha256": lesson.valued.sha256,
        "settled_until": lesson.valued.settled_until,
        "propensities": "of all arms",
        "parent_number": root.number,
        "parent_sha256": root.sha256,
        "order": "decided_at, id",
        "passes": 1,
        "rounds": lesson.forward.rounds,
        "decisions": len(learned),
        "first": learned[0] if learned else None,
        "last": learned[-1] if learned else None,
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(lesson.forward.policy),
    }
