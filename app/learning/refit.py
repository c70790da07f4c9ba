"""Fit a learner from nothing over its arm's ledger: what rounds learned one after the other is learned again, all at once.

A refit is due when the log has grown by a tenth since the last one, when the model that serves predicts worse than it used
to, or when a person asked for it or pinned another candidate. It learns no decision that its parent had not learned, so it has
no rows in the ledger: the rows of its parent and
of that one's ancestors say what it learned. One transaction under the arm's lock does it; rounds of this arm wait, those of
other arms do not.
"""

from collections import deque
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from app.foundation.errors import FieldError, NotFound
from app.foundation.fields import JsonObject, invalid
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.learning.examples import Configs, examples_of
from app.learning.learner_report import learner_report
from app.learning.rebuild import rebuild_lineage
from app.learning.store import rebuilds, training
from app.learning.training import canaries, learner_part, promote
from app.registry import signed_bytes as model_bytes
from app.registry.lookup import stored_experiment
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.models import NewVersion, VersionInfo
from bandits.encoding import ENCODING_VERSION
from bandits.examples import Example, TrainingDataError
from bandits.learner.state import MOST_ROWS
from bandits.model import learn_from_nothing
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, parse_policy, policy_to_json
from bandits.safety import check_model

log = structlog.get_logger()


class Refitted(NamedTuple):
    """The result of a refit."""

    number: int  # of the new version
    decisions: int  # that it learned
    promoted: bool
    problems: tuple[str, ...]


def ask(engine: Engine, experiment_key: str, arm: str, actor: str) -> None:
    """Ask for a rebuild of an arm's model; the worker does it.

    :raises NotFound: no such experiment, or the arm does not learn.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        if not rebuilds.ask(connection, experiment.id, arm):
            raise NotFound("unknown_version", f"Arm {arm!r} of {experiment_key!r} has no model versions.")
        platform.record_change(
            connection, actor=actor, kind="model_rebuild", experiment_id=experiment.id, before=None, after={"arm": arm}
        )


def pin(engine: Engine, experiment_key: str, arm: str, candidate: str, actor: str) -> None:
    """Pin the candidate of an arm's race that decides; "" lets its policy decide again. The worker refits the model soon.

    :raises NotFound: no such experiment, or the arm does not learn.
    :raises Unprocessable: the serving version has no candidate of that name.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        serving = {row.arm: row.number for row in models.serving(connection, experiment_id=experiment.id)}
        version = models.find(connection, experiment.id, arm, serving[arm]) if arm in serving else None
        if version is None:
            raise NotFound("unknown_version", f"Arm {arm!r} of {experiment_key!r} has no model versions.")
        report = learner_report(version.manifest)
        names = [one.name for one in report.candidates] if report else []
        if candidate and candidate not in names:
            problem = (
                FieldError("/candidate", "not_a_choice", {"expected": names})
                if names
                else FieldError("/arm", "no_race")
            )
            raise invalid((problem,))
        before = rebuilds.pinned(connection, experiment.id, arm)
        rebuilds.pin(connection, experiment.id, arm, candidate)
        platform.record_change(
            connection,
            actor=actor,
            kind="model_pinned",
            experiment_id=experiment.id,
            before={"arm": arm, "candidate": before or None},
            after={"arm": arm, "candidate": candidate or None},
        )


def rebuild_now(engine: Engine, settings: Settings, experiment_key: str, arm: str, actor: str) -> Refitted | None:
    """Ask for a rebuild and do it in this process. See ``ask`` and ``refit``."""
    ask(engine, experiment_key, arm, actor)
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, experiment_key).id
    return refit(engine, settings, experiment_id, arm)


def due_arms(engine: Engine) -> list[tuple[int, str]]:
    """Return (experiment id, arm) for every arm whose serving version wants a refit."""
    with transaction(engine) as connection:
        return rebuilds.wanting_refit(connection)


def refit(engine: Engine, settings: Settings, experiment_id: int, arm: str) -> Refitted | None:
    """Learn what the serving version of an arm knows again, from nothing, and serve the result.

    A policy of Vowpal Wabbit's own algorithms is learned again round by round, and only when a person asked for it.

    :returns: None if it is not due, if another process trains this arm, or if the log cannot be learned.
    """
    with transaction(engine) as connection:
        if not training.lock_lineage(connection, experiment_id, arm):
            return None
        asked = rebuilds.done(connection, experiment_id, arm)
        (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
        parent = models.find(connection, experiment_id, arm, serving.number)
        if parent is None or not parent.examples:
            return None
        known, pinned = parent.manifest.get("learner", {}), rebuilds.pinned(connection, experiment_id, arm)
        if not (asked or known.get("wants_fit") or (known.get("served") and pinned != (known.get("pinned") or ""))):
            return None
        policy = parse_policy(parent.manifest["policy"])
        assert isinstance(policy, BanditPolicy), "only learning arms have versions"
        if not policy.learns:
            return None
        try:
            if policy.rebuilds:
                return _refit(connection, settings, parent, policy, pinned)
            done = rebuild_lineage(connection, settings, experiment_id, arm, reason="a person asked for it")
            return Refitted(done.number, done.decisions, done.promoted, done.problems)
        except (ModelRefused, ModelError, TrainingDataError) as error:
            models.report_problem(connection, experiment_id, arm, str(error))
            log.error("refit_failed", experiment_id=experiment_id, arm=arm, error=str(error))
            return None


def examples_before(connection: Connection, version: VersionInfo, policy: BanditPolicy) -> list[Example]:
    """The newest examples of a version and its ancestors that it still holds for true, in the order of learning.

    What a fit once left out, because the world had changed, is not learned again.
    """
    most = min(MOST_ROWS, version.manifest["learner"]["window"])
    configs, kept = Configs(connection, version.experiment_id), deque[Example](maxlen=most)
    for round_ in rebuilds.rounds(connection, version.id, most):
        kept.extend(examples_of(policy, [(due, reward) for reward, due in round_], configs))
    return list(kept)


def relearned(manifest: JsonObject, policy: BanditPolicy, examples: list[Example]) -> bytes:
    """The bytes of a refit, from its manifest and the examples of its parent. The audit calls this, too."""
    pinned = manifest.get("pinned", "")
    return learn_from_nothing(policy, examples, manifest["incumbent"], manifest["earlier"], pinned)


def _refit(
    connection: Connection, settings: Settings, parent: VersionInfo, policy: BanditPolicy, pinned: str
) -> Refitted | None:
    examples = examples_before(connection, parent, policy)
    if not examples:
        return None
    manifest: JsonObject = {
        "kind": "refit",
        "parent_number": parent.number,
        "parent_sha256": parent.sha256,
        "order": "version, position",
        "decisions": len(examples),
        "earlier": parent.examples - len(examples),
        "incumbent": parent.manifest["learner"]["served"] or "",
        "pinned": pinned,
        "generation": parent.manifest["generation"],
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(policy),
    }
    plain = relearned(manifest, policy, examples)
    shown = canaries(examples)
    report = check_model(plain, policy, shown)
    revision = platform.next_revision(connection)
    number = models.next_number(connection, parent.experiment_id, parent.arm)
    manifest |= learner_part(plain, policy)
    checks = report._asdict() | {"canaries": len(shown)}
    version = NewVersion(
        parent.experiment_id, parent.arm, number, parent.id, "refit", parent.examples, manifest, checks
    )
    version_id, _ = model_bytes.store(connection, plain, settings.secret_key, version)
    promote(connection, parent.experiment_id, parent.arm, version_id, revision, report)
    return Refitted(number, len(examples), report.ok, report.problems)
