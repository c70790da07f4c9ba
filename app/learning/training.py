"""Settle outcomes and learn from them. Training reads its work from the database, not from a queue of events.

Starting it twice, or killing it, changes nothing. One round of one arm is one transaction under the arm's lock. It reads the
decisions whose reward window has closed, in order, and makes their joined rewards final. In a learning arm it also loads the
parent model and writes the child model with its manifest and its ledger rows. Training waits for the end of the window to
stay unbiased: early rewards would otherwise be learned before the missing ones.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from app.design.store import feedback_schemas
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.learning.examples import Configs, examples_of, outcome_of
from app.learning.store import rewards, training
from app.learning.store.training import Due, Generation, Outcome
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.models import NewVersion, VersionInfo
from bandits.encoding import ENCODING_VERSION
from bandits.examples import Example, TrainingDataError
from bandits.model import describe, learn
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, Policy, parse_policy, policy_to_json
from bandits.safety import ModelReport, check_model

CANARIES = 20

log = structlog.get_logger()


class Round(NamedTuple):
    """The result of one training round."""

    experiment_id: int
    arm: str
    number: int | None  # of the new version; None: the arm does not learn
    decisions: int
    promoted: bool
    problems: tuple[str, ...]


def due_arms(engine: Engine) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm with decisions whose reward window has closed."""
    with transaction(engine) as connection:
        return training.arms_with_due_decisions(connection)


def train_round(engine: Engine, settings: Settings, experiment_id: int, arm: str) -> Round | None:
    """Settle and learn from the due decisions of one arm, up to the limit of a round.

    :returns: None if no decision is due, if another process trains this arm, or if the parent model is refused.
    """
    with transaction(engine) as connection:
        until = rewards.pass_gate(connection)
    with _no_collector(), transaction(engine) as connection:
        if not training.lock_lineage(connection, experiment_id, arm):
            return None
        rows = training.due(connection, experiment_id, arm, until, settings.round_decisions)
        if not rows:
            return None
        configs = Configs(connection, experiment_id)
        schema = feedback_schemas.applied_version(connection, experiment_id)
        outcomes = [outcome_of(row, configs.get(row.config_version).reward, configs.feedback(schema)) for row in rows]
        policy = _policy(configs, rows[-1].config_version, arm)
        done = Round(experiment_id, arm, None, len(rows), False, ())
        if isinstance(policy, BanditPolicy):
            generation = training.current_generation(connection, experiment_id, arm)
            useful = [outcome for outcome in outcomes if learnable(outcome.decision)]
            withheld = [
                (outcome.decision.id, outcome.reward) for outcome in outcomes if not learnable(outcome.decision)
            ]
            if useful:
                lesson = _Lesson(policy, useful, configs, schema, generation)
                learned = _learn(connection, settings, lesson, done)
                if learned is None:
                    return None
                done = learned
            training.write_ledger(connection, generation, training.NOT_LEARNED, withheld)
        windows_s = {version: configs.get(version).reward.window_s for version in {row.config_version for row in rows}}
        training.settle(connection, experiment_id, arm, outcomes, schema, windows_s)
        return done


def learnable(due: Due) -> bool:
    """Return False if the unit refuses learning from its decisions."""
    return "learn" not in due.refused


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause Python's cycle collector, which would scan a round's thousands of contexts repeatedly: a sixth of the time.

    None of them is garbage, and the size of a round limits the memory that is not collected.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Lesson(NamedTuple):
    """The input of one learning round."""

    policy: BanditPolicy
    outcomes: list[Outcome]
    configs: Configs
    feedback_version: int  # of the schema under which the rewards were joined
    generation: Generation


def _learn(connection: Connection, settings: Settings, lesson: _Lesson, done: Round) -> Round | None:
    """Learn the next model version of an arm from these outcomes, and serve it if it passes its checks."""
    experiment_id, arm = done.experiment_id, done.arm
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    try:
        parent, parent_bytes = model_bytes.load(connection, serving.version_id, settings.secret_key)
        rewarded = [(outcome.decision, outcome.reward) for outcome in lesson.outcomes]
        examples = examples_of(lesson.policy, rewarded, lesson.configs)
        child = learn(parent_bytes, lesson.policy, examples)
    except (ModelRefused, ModelError, TrainingDataError) as error:
        models.report_problem(connection, experiment_id, arm, str(error))
        log.error("training_failed", experiment_id=experiment_id, arm=arm, error=error)
        return None
    shown = canaries(examples)
    report = check_model(child, lesson.policy, shown)
    revision = platform.next_revision(connection)
    number = models.next_number(connection, experiment_id, arm)
    checks = report._asdict() | {"canaries": len(shown)}
    examples_so_far = parent.examples + len(lesson.outcomes)
    manifest = _manifest(parent, lesson) | learner_part(child, lesson.policy)
    version = NewVersion(experiment_id, arm, number, parent.id, "incremental", examples_so_far, manifest, checks)
    version_id, _ = model_bytes.store(connection, child, settings.secret_key, version)
    learned = [(outcome.decision.id, outcome.reward) for outcome in lesson.outcomes]
    training.write_ledger(connection, lesson.generation, version_id, learned)
    promote(connection, experiment_id, arm, version_id, revision, report)
    return done._replace(number=number, promoted=report.ok, problems=report.problems)


def canaries(examples: list[Example]) -> list[tuple[str, list[str]]]:
    """Pick a few contexts, spread over the round, for the checks of a model before it serves."""
    step = max(1, len(examples) // CANARIES)
    return [(example.shared_line, list(example.action_lines)) for example in examples[::step][:CANARIES]]


def _policy(configs: Configs, config_version: int, arm: str) -> Policy:
    (policy,) = (parse_policy(spec.policy) for spec in configs.get(config_version).arms if spec.key == arm)
    return policy


def _manifest(parent: VersionInfo, lesson: _Lesson) -> JsonObject:
    """Return what a replay needs besides the ledger to get the same bytes: the parent, the order, the passes."""
    return {
        "kind": "incremental",
        "parent_number": parent.number,
        "parent_sha256": parent.sha256,
        "order": "decided_at, id",
        "passes": 1,
        "decisions": len(lesson.outcomes),
        "first": lesson.outcomes[0].decision.id,
        "last": lesson.outcomes[-1].decision.id,
        "feedback_version": lesson.feedback_version,
        "generation": lesson.generation.number,
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(lesson.policy),
    }


def learner_part(plain: bytes, policy: BanditPolicy) -> JsonObject:
    """Return the part of a manifest that says what a learner found out: the race, the fit, the features left out."""
    described = describe(plain, policy)
    return {"learner": described} if described else {}


def promote(
    connection: Connection, experiment_id: int, arm: str, version_id: int, revision: int, report: ModelReport
) -> None:
    """Serve the new version, or report why the old version stays."""
    if report.ok:
        models.serve(connection, experiment_id, arm, version_id, revision)
    else:
        models.report_problem(connection, experiment_id, arm, "; ".join(report.problems))
        log.error("model_not_promoted", experiment_id=experiment_id, arm=arm, problems=report.problems)
