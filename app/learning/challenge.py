"""Challengers: models that are learned again from nothing, and serve only if they earn more than what ran.

Two occasions. After a change of the world, a challenger learns only what was decided since; rows of the time before count no
more, also for later rebuilds. By the calendar, it learns the whole log. Both are scored on the newest rows, part by part, each
by a challenger that learned what came before the part. A winner is a version of the kind ``challenger``. Like a refit, it learned
no decision that its parent's line had not learned, so the ledger's rows of that line, and its manifest, give its bytes again.
"""

from collections import deque
from datetime import datetime
from typing import NamedTuple

import numpy as np
import structlog
from sqlalchemy import Connection, Engine

from app.design.safety_config import DEFAULT_SAFETY
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.learning.examples import Configs, examples_of
from app.learning.store import challenges, rebuilds, training
from app.learning.store.challenges import Asked
from app.learning.store.training import Due
from app.learning.training import canaries, learner_part, promote
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.models import NewVersion, VersionInfo
from bandits.challenge import PASSES, Score, learned, score
from bandits.encoding import ENCODING_VERSION
from bandits.examples import Example, TrainingDataError
from bandits.learner.state import MOST_ROWS
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, parse_policy, policy_to_json
from bandits.safety import check_model

ACTOR = "worker"
KIND = "challenger"

log = structlog.get_logger()


class Challenged(NamedTuple):
    """What became of a challenger."""

    score: Score
    decisions: int  # that it learned
    number: int | None  # of its version; None: it lost
    promoted: bool


def due_arms(engine: Engine) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm for which a challenger is due."""
    with transaction(engine) as connection:
        return challenges.due(connection, DEFAULT_SAFETY.challenge_every_s)


def challenge(engine: Engine, settings: Settings, experiment_id: int, arm: str) -> Challenged | None:
    """Learn a challenger of an arm, score it against what ran, and serve it if it wins.

    :returns: None if another process trains this arm, or if the log cannot be learned.
    """
    with transaction(engine) as connection:
        if not training.lock_lineage(connection, experiment_id, arm):
            return None
        asked = challenges.asked(connection, experiment_id, arm)
        (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
        parent = models.by_id(connection, serving.version_id)
        try:
            done = _challenge(connection, settings, parent, asked)
        except (ModelRefused, ModelError, TrainingDataError) as error:
            log.error("challenger_failed", experiment_id=experiment_id, arm=arm, error=str(error))
            done = None
        challenges.done(connection, experiment_id, arm, asked, won=done is not None and done.promoted)
        if done is not None and done.score.rows:
            _record(connection, parent, asked, done)
        return done


def lessons(
    connection: Connection, version: VersionInfo, policy: BanditPolicy, since: datetime | None
) -> list[tuple[Due, Example]]:
    """The newest decisions of a version's line that a challenger learns, oldest first. The audit calls this, too."""
    configs, kept = Configs(connection, version.experiment_id), deque[tuple[Due, Example]](maxlen=MOST_ROWS)
    for round_ in rebuilds.rounds(connection, version.id):
        part = [(due, reward) for reward, due in round_ if since is None or due.decided_at >= since]
        kept.extend(zip((due for due, _ in part), examples_of(policy, part, configs), strict=True))
    return list(kept)


def untrained(connection: Connection, version: VersionInfo, secret_key: str) -> bytes:
    """The bytes of the model that a version's lineage began with. Raises ``ModelRefused`` if its signature does not match."""
    return model_bytes.load(connection, models.root_of(connection, version.id).id, secret_key)[1]


def relearned(root: bytes, manifest: JsonObject, policy: BanditPolicy, examples: list[Example]) -> bytes:
    """The bytes of a challenger, from its lineage's first model, manifest and examples. Audit and erasures call this, too."""
    return learned(root, policy, examples, manifest["passes"], manifest["earlier"])


def since_of(manifest: JsonObject) -> datetime | None:
    """The time of the change after which a challenger learned; null: it learned the whole log."""
    return datetime.fromisoformat(manifest["since"]) if manifest["since"] else None


def _challenge(connection: Connection, settings: Settings, parent: VersionInfo, asked: Asked) -> Challenged | None:
    policy = parse_policy(parent.manifest["policy"])
    assert isinstance(policy, BanditPolicy), "only learning arms have versions"
    if not policy.learns:
        return None
    pairs = lessons(connection, parent, policy, asked.since)
    examples = [example for _, example in pairs]
    configs = Configs(connection, parent.experiment_id)
    chances = configs.distributions([due.id for due, _ in pairs if due.mixture is None])
    logged = [chances[due.id] if due.mixture is None else np.array(due.mixture) for due, _ in pairs]
    root = untrained(connection, parent, settings.secret_key)
    found = score(root, policy, examples, logged, PASSES)
    if not found.wins:
        return Challenged(found, len(examples), None, False)
    manifest: JsonObject = {
        "kind": KIND,
        "parent_number": parent.number,
        "parent_sha256": parent.sha256,
        "order": "version, position",
        "since": asked.since.isoformat() if asked.since else None,
        "decisions": len(examples),
        "earlier": 0 if asked.since else max(parent.examples - len(examples), 0),
        "passes": PASSES,
        "score": found._asdict(),
        "generation": parent.manifest["generation"],
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(policy),
    }
    return _serve(connection, settings, parent, _Winner(policy, root, manifest, examples, found))


class _Winner(NamedTuple):
    policy: BanditPolicy
    root: bytes  # the model that its lineage began with
    manifest: JsonObject
    examples: list[Example]
    score: Score


def _serve(connection: Connection, settings: Settings, parent: VersionInfo, winner: _Winner) -> Challenged:
    policy, root, manifest, examples, found = winner
    plain = relearned(root, manifest, policy, examples)
    shown = canaries(examples)
    report = check_model(plain, policy, shown)
    revision = platform.next_revision(connection)
    number = models.next_number(connection, parent.experiment_id, parent.arm)
    manifest |= learner_part(plain, policy)
    checks = report._asdict() | {"canaries": len(shown)}
    count = manifest["earlier"] + len(examples)
    version = NewVersion(parent.experiment_id, parent.arm, number, parent.id, KIND, count, manifest, checks)
    version_id, _ = model_bytes.store(connection, plain, settings.secret_key, version)
    promote(connection, parent.experiment_id, parent.arm, version_id, revision, report)
    return Challenged(found, len(examples), number, report.ok)


def _record(connection: Connection, parent: VersionInfo, asked: Asked, done: Challenged) -> None:
    """History says of every challenger how it did."""
    after: JsonObject = {
        "arm": parent.arm,
        "won": done.promoted,
        "version": done.number,
        "decisions": done.decisions,
        "scored": done.score.rows,
        "difference": done.score.difference,
        "error": done.score.error,
        "since": asked.since.isoformat() if asked.since else None,
    }
    platform.record_change(
        connection,
        actor=ACTOR,
        kind=KIND,
        experiment_id=parent.experiment_id,
        before={"version": parent.number},
        after=after,
    )
