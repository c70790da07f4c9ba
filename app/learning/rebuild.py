"""Rebuild a model: learn again from the untrained model, under another feedback schema, or because a person asked.

The old version serves until the new one is checked and promoted. All of this is one transaction, so a killed rebuild leaves
no trace. The new version learns the decisions of the serving version, round by round in the same order, with their current
rewards. The same decisions with the same rewards give the same bytes. Each version keeps its own generation of the ledger,
so that it can always be replayed.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from app.design.store import feedback_schemas
from app.foundation.errors import Unavailable
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.learning import holding
from app.learning.examples import Configs, bounds_of, examples_of, joined_reward, outcome_of
from app.learning.store import held_out, rebuilds, training
from app.learning.store.held_out import HeldOut, Suspect
from app.learning.store.training import Generation
from app.learning.training import CANARIES, canaries, held_part, learnable, learner_part, promote
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.models import NewVersion, Serving, VersionInfo
from bandits.encoding import ENCODING_VERSION
from bandits.examples import Example, TrainingDataError
from bandits.learner.state import MOST_ROWS
from bandits.model import learn, learn_from_nothing
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, parse_policy, policy_to_json
from bandits.safety import check_model

log = structlog.get_logger()


class Rebuilt(NamedTuple):
    """The result of rebuilding one lineage."""

    number: int  # of the new version
    old_sha256: str  # of the version that served
    new_sha256: str
    decisions: int  # that the new version learned
    promoted: bool  # False: it failed its checks, and the old version still serves
    problems: tuple[str, ...]


class Applied(NamedTuple):
    """The result of applying a feedback schema."""

    experiment_id: int
    version: int
    outcomes: int  # joined again
    rebuilt: dict[str, Rebuilt]  # by arm


def apply_waiting(engine: Engine, settings: Settings) -> list[Applied]:
    """Apply every waiting feedback schema. A schema that fails is tried again later.

    :raises Unavailable: the database is down.
    """
    with transaction(engine) as connection:
        waiting = feedback_schemas.waiting_experiments(connection)
    done = []
    for experiment_id in waiting:
        try:
            applied = apply_schema(engine, settings, experiment_id)
        except Unavailable:
            raise
        except Exception as error:  # an experiment that fails is reported and does not delay the others
            log.exception("rebuild_failed", experiment_id=experiment_id)
            with transaction(engine) as connection:
                feedback_schemas.note_failure(connection, experiment_id, why_not(error))
            continue
        done += [applied] if applied else []
    return done


def why_not(error: Exception) -> str:
    """Explain to people why a rebuild failed."""
    expected = isinstance(error, ModelRefused | ModelError | TrainingDataError)
    return str(error)[:1000] if expected else "an unexpected fault; the worker's log says more"


def apply_schema(engine: Engine, settings: Settings, experiment_id: int) -> Applied | None:
    """Join every outcome again under the newest feedback schema, and rebuild each model with these rewards.

    :returns: None if the newest schema is already applied.
    :raises ModelRefused: a stored model does not match its signature.
    """
    with transaction(engine) as connection:
        training.lock_every_lineage(connection, experiment_id)
        newest = feedback_schemas.newest_schema(connection, experiment_id)
        if newest is None or newest.applied_at is not None:
            return None
        configs = Configs(connection, experiment_id)
        feedback_schemas.mark_applied(connection, experiment_id, newest.version)
        if not newest.schema.get("formula", {}).get("relearn", True):  # earlier outcomes stay under their own version
            return Applied(experiment_id, newest.version, 0, {})
        outcomes = _settle_again(connection, experiment_id, configs, newest.version)
        rebuilt = {}
        for serving in sorted(models.serving(connection, experiment_id=experiment_id), key=lambda row: row.arm):
            if _learns(connection, serving) and rebuilds.has_ledger(connection, experiment_id, serving.arm):
                reason = f"feedback schema {newest.version}"
                rebuilt[serving.arm] = rebuild_lineage(connection, settings, experiment_id, serving.arm, reason=reason)
        return Applied(experiment_id, newest.version, outcomes, rebuilt)


def _learns(connection: Connection, serving: Serving) -> bool:
    policy = parse_policy(models.by_id(connection, serving.version_id).manifest["policy"])
    return isinstance(policy, BanditPolicy) and policy.learns


def _settle_again(connection: Connection, experiment_id: int, configs: Configs, version: int) -> int:
    schema, count = configs.feedback(version), 0
    for slice_ in rebuilds.outcomes(connection, experiment_id):
        joined = [outcome_of(due, configs.get(due.config_version).reward, schema) for due in slice_]
        rows = [
            {"decision_id": outcome.decision.id, "reward": outcome.reward, "events": outcome.events}
            for outcome in joined
        ]
        rebuilds.settle_again(connection, experiment_id, version, rows)
        count += len(rows)
    return count


def rebuild_lineage(
    connection: Connection,
    settings: Settings,
    experiment_id: int,
    arm: str,
    *,
    reason: str,
) -> Rebuilt:
    """Learn again from the untrained model what the serving version of an arm learned, and serve the result.

    Rewards are joined under the applied feedback schema. Two kinds of decisions are left out: those whose unit refuses
    learning now, and those whose unit and context were removed by retention.
    Every lineage of the experiment is locked until the transaction ends (``training.lock_every_lineage``).

    :param reason: the reason for the rebuild, written to the manifest.
    :raises ModelRefused: the untrained model does not match its signature.
    """
    training.lock_every_lineage(connection, experiment_id)
    generation = training.current_generation(connection, experiment_id, arm)
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    root = models.root_of(connection, serving.version_id)
    _, untrained = model_bytes.load(connection, root.id, settings.secret_key)
    policy = parse_policy(root.manifest["policy"])
    assert isinstance(policy, BanditPolicy), "only learning arms have versions"
    schema = feedback_schemas.applied_version(connection, experiment_id)
    pinned = rebuilds.pinned(connection, experiment_id, arm)
    share = bounds_of(connection, experiment_id).unit_share
    suspects = held_out.suspects(connection, experiment_id, excluded=True)
    lesson = _Lesson(connection, serving.version_id, experiment_id, schema, pinned, share, suspects)
    plain = lesson.learn(untrained, policy)
    shown = canaries(list(lesson.newest))
    report = check_model(plain, policy, shown, trained=bool(lesson.warm + len(lesson.learned)))
    revision = platform.next_revision(connection)
    number = models.next_number(connection, experiment_id, arm)
    manifest = _manifest(root, policy, lesson, generation.following()) | {"reason": reason, "replaces": serving.number}
    manifest |= learner_part(plain, policy)
    checks = report._asdict() | {"canaries": len(shown)}
    version = NewVersion(
        experiment_id, arm, number, root.id, "rebuild", lesson.warm + len(lesson.learned), manifest, checks
    )
    version_id, sha256 = model_bytes.store(connection, plain, settings.secret_key, version)
    _write_generation(connection, lesson, generation, version_id)
    held_out.add(connection, experiment_id, arm, lesson.held)
    promote(connection, experiment_id, arm, version_id, revision, report)
    return Rebuilt(number, serving.sha256, sha256, len(lesson.learned), report.ok, report.problems)


@dataclass
class _Lesson:
    """The decisions that a rebuild learns from, one round at a time."""

    connection: Connection
    version_id: int  # what it and its ancestors learned is learned again
    experiment_id: int
    feedback_version: int
    pinned: str  # the candidate that a person pinned; "" for none
    share: float  # the largest of one unit
    suspects: list[Suspect]  # nothing is learned from their decisions
    held: list[HeldOut] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)  # number of decisions in each
    warm: int = 0  # decisions of another log, which a warm start had learned before
    learned: list[tuple[str, float]] = field(default_factory=list)  # (decision id, reward) in the order of learning
    withheld: list[tuple[str, float]] = field(default_factory=list)  # their units refuse learning now
    mixtures: dict[str, list[float]] = field(default_factory=dict)  # by decision, of those of other arms
    newest: deque[Example] = field(default_factory=lambda: deque(maxlen=CANARIES))

    def learn(self, plain: bytes, policy: BanditPolicy) -> bytes:
        """Learn all rounds of the serving version.

        Round borders stay, because Vowpal Wabbit's state depends on them. A policy with rebuilds learns all at once.

        :param plain: the bytes of the untrained model.
        :returns: the bytes of the trained model.
        """
        configs = Configs(self.connection, self.experiment_id)
        kept: deque[Example] = deque(maxlen=MOST_ROWS)
        self._hold()
        held = {row.decision_id for row in self.held}
        for decisions in rebuilds.rounds(self.connection, self.version_id):
            lessons = [(decision, reward) for reward, decision in decisions if decision.source_id is not None]
            self.warm += len(lessons)
            for _, decision in decisions:
                if decision.source_id is not None:  # not this arm's: it stands in the ledger of warm starts
                    continue
                reward = joined_reward(decision, configs, self.feedback_version)
                learns = learnable(decision) and decision.id not in held
                target = self.learned if learns else self.withheld
                target.append((decision.id, reward))
                if decision.mixture is not None:
                    self.mixtures[decision.id] = decision.mixture
                if learns:
                    lessons.append((decision, reward))
            examples = examples_of(policy, lessons, configs)
            if policy.rebuilds:
                kept.extend(examples)
            else:
                plain = learn(plain, policy, examples)
                self.rounds += [len(examples)] if examples and len(self.learned) > 0 else []
            self.newest.extend(examples)
        if kept:
            self.rounds = [len(self.learned)]
            earlier = self.warm + len(self.learned) - len(kept)
            plain = learn_from_nothing(policy, list(kept), "", earlier, self.pinned)
        return plain

    def _hold(self) -> None:
        """Find what is not learned this time: decisions of suspects, and what is more than one unit may teach."""
        owners = [owner for owner in rebuilds.owners(self.connection, self.version_id) if learnable(owner)]
        self.held = holding.of_suspects(owners, self.suspects)
        held = {row.decision_id for row in self.held}
        others = [owner for owner in owners if owner.id not in held]
        self.held += holding.too_many(self.connection, None, others, self.share)


def _write_generation(connection: Connection, lesson: _Lesson, before: Generation, version_id: int) -> None:
    def write(version: int, rows: list[tuple[str, float]]) -> None:
        for first in range(0, len(rows), rebuilds.SLICE):
            part = rows[first : first + rebuilds.SLICE]
            training.write_ledger(connection, before.following(), version, part, first, lesson.mixtures)

    write(version_id, lesson.learned)
    write(training.NOT_LEARNED, lesson.withheld)
    rebuilds.begin_generation(connection, before)


def _manifest(root: VersionInfo, policy: BanditPolicy, lesson: _Lesson, generation: Generation) -> JsonObject:
    """Return what a replay needs besides the ledger to get the same bytes: the untrained model, the order, the passes."""
    return ({"warm": lesson.warm} if lesson.warm else {}) | {
        "kind": "rebuild",
        "generation": generation.number,
        "parent_number": root.number,
        "parent_sha256": root.sha256,
        "order": "version, position",
        "passes": 1,
        "rounds": lesson.rounds,
        "decisions": len(lesson.learned),
        "pinned": lesson.pinned,
        "held_out": held_part(lesson.held, lesson.share),
        "feedback_version": lesson.feedback_version,
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(policy),
    }
