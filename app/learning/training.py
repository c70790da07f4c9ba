"""Settle outcomes and learn from them. Training reads its work from the database, not from a queue of events.

Starting it twice, or killing it, changes nothing. One round of one arm is one transaction under the arm's lock. It reads the
decisions whose reward window has closed, in order, and makes their joined rewards final. In a learning arm it also loads the
parent model and writes the child model with its manifest and its ledger rows. Training waits for the end of the window to
stay unbiased: early rewards would otherwise be learned before the missing ones.
"""

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from app.design.store import feedback_schemas
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.learning import holding
from app.learning.examples import Configs, examples_of, outcome_of
from app.learning.store import held_out, rewards, training
from app.learning.store.held_out import HeldOut
from app.learning.store.training import Due, Generation, Outcome, Owner
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
    """Return (experiment id, arm) for every arm with decisions whose reward window has closed, or that were released."""
    with transaction(engine) as connection:
        due = training.arms_with_due_decisions(connection)
        return list(dict.fromkeys([*due, *held_out.arms_with_released(connection)]))


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
        released = held_out.released(connection, experiment_id, arm, settings.round_decisions)
        if not rows and not released:
            return None
        configs = Configs(connection, experiment_id)
        schema = feedback_schemas.applied_version(connection, experiment_id)
        outcomes, waited = (
            [outcome_of(row, configs.get(row.config_version).reward, configs.feedback(schema)) for row in part]
            for part in (rows, released)
        )
        held = holding.of_suspects(rows, held_out.suspects(connection, experiment_id))
        newest = (rows or released)[-1].config_version
        policy, share = _policy(configs, newest, arm), configs.get(newest).bounds.unit_share
        done = Round(experiment_id, arm, None, len(rows), False, ())
        if isinstance(policy, BanditPolicy) and not policy.learns:
            generation = training.current_generation(connection, experiment_id, arm)
            passed = [(row.decision.id, row.reward) for row in outcomes]
            training.write_ledger(connection, generation, training.NOT_LEARNED, passed)
            held_out.forget(connection, experiment_id, [row.decision.id for row in waited])
        elif isinstance(policy, BanditPolicy):
            lesson = _Lesson(policy, outcomes, waited, configs, schema, share, held)
            learned = _teach(connection, settings, lesson, done)
            if learned is None:
                return None
            done = learned
        held_out.add(connection, experiment_id, arm, held)
        windows_s = {version: configs.get(version).reward.window_s for version in {row.config_version for row in rows}}
        training.settle(connection, experiment_id, arm, outcomes, schema, windows_s)
        return done


def _teach(connection: Connection, settings: Settings, lesson: "_Lesson", done: Round) -> Round | None:
    """Learn what is not held out and not refused, and write the ledger. None: it cannot be learned now.

    What is more than one unit may teach is added to what the lesson holds.
    """
    held = {row.decision_id for row in lesson.held}
    useful = [outcome for outcome in lesson.outcomes if _useful(outcome, held)]
    (serving,) = (row for row in models.serving(connection, experiment_id=done.experiment_id) if row.arm == done.arm)
    lesson.held.extend(holding.too_many(connection, serving.version_id, [row.decision for row in useful], lesson.share))
    held = {row.decision_id for row in lesson.held}
    useful = [outcome for outcome in useful if _useful(outcome, held)]
    waited = [outcome for outcome in lesson.waited if learnable(outcome.decision)]
    generation = training.current_generation(connection, done.experiment_id, done.arm)
    learned: Round | None = done
    if useful or waited:
        learned = _learn(connection, settings, lesson._replace(outcomes=useful, waited=waited), generation, done)
    if learned is not None:
        withheld = [(row.decision.id, row.reward) for row in lesson.outcomes if not _useful(row, held)]
        training.write_ledger(connection, generation, training.NOT_LEARNED, withheld)
        held_out.forget(connection, done.experiment_id, [outcome.decision.id for outcome in lesson.waited])
    return learned


def _useful(outcome: Outcome, held: set[str]) -> bool:
    return learnable(outcome.decision) and outcome.decision.id not in held


def learnable(due: Due | Owner) -> bool:
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
    waited: list[Outcome]  # that were held out before, and released
    configs: Configs
    feedback_version: int  # of the schema under which the rewards were joined
    share: float  # the largest of one unit
    held: list[HeldOut]  # of the outcomes


def _learn(
    connection: Connection, settings: Settings, lesson: _Lesson, generation: Generation, done: Round
) -> Round | None:
    """Learn the next model version of an arm from these outcomes, and serve it if it passes its checks."""
    experiment_id, arm = done.experiment_id, done.arm
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    try:
        parent, parent_bytes = model_bytes.load(connection, serving.version_id, settings.secret_key)
        rewarded = [(outcome.decision, outcome.reward) for outcome in (*lesson.outcomes, *lesson.waited)]
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
    examples_so_far = parent.examples + len(examples)
    manifest = _manifest(parent, lesson, generation) | learner_part(child, lesson.policy)
    version = NewVersion(experiment_id, arm, number, parent.id, "incremental", examples_so_far, manifest, checks)
    version_id, _ = model_bytes.store(connection, child, settings.secret_key, version)
    learned, waited = ([(row.decision.id, row.reward) for row in part] for part in (lesson.outcomes, lesson.waited))
    training.write_ledger(connection, generation, version_id, learned)
    held_out.mark_learned(connection, generation, version_id, waited, first=len(learned))
    promote(connection, experiment_id, arm, version_id, revision, report)
    return done._replace(number=number, promoted=report.ok, problems=report.problems)


def canaries(examples: list[Example]) -> list[tuple[str, list[str]]]:
    """Pick a few contexts, spread over the round, for the checks of a model before it serves."""
    step = max(1, len(examples) // CANARIES)
    return [(example.shared_line, list(example.action_lines)) for example in examples[::step][:CANARIES]]


def _policy(configs: Configs, config_version: int, arm: str) -> Policy:
    (policy,) = (parse_policy(spec.policy) for spec in configs.get(config_version).arms if spec.key == arm)
    return policy


def _manifest(parent: VersionInfo, lesson: _Lesson, generation: Generation) -> JsonObject:
    """Return what a replay needs besides the ledger to get the same bytes: the parent, the order, the passes."""
    learned = [*lesson.outcomes, *lesson.waited]
    return {
        "kind": "incremental",
        "parent_number": parent.number,
        "parent_sha256": parent.sha256,
        "order": "decided_at, id",
        "passes": 1,
        "decisions": len(learned),
        "first": learned[0].decision.id,
        "last": learned[-1].decision.id,
        "held_out": held_part(lesson.held, lesson.share),
        "feedback_version": lesson.feedback_version,
        "generation": generation.number,
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(lesson.policy),
    }


def held_part(held: Sequence[HeldOut], share: float) -> JsonObject:
    """Return the part of a manifest that says what was not learned, and the bound on the share of one unit."""
    return {"unit_share": share, "decisions": dict(sorted(Counter(row.rule for row in held).items()))}


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
