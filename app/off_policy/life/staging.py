"""Stages a candidate: it becomes an arm of the experiment, and begins with the very model that was valued.

A candidate that learns was valued by progressive training: before each part of the log, on the decisions before it. What it
ended with had learned the whole log. The worker learns that model again from the same decisions in the same rounds, and
stages it only if its SHA-256 is the one that the evaluation noted. The new arm's ledger holds these decisions, of all arms,
with the platform's distribution over all arms, so that the audit can replay the model and an erasure reaches it. From there
on the arm learns in rounds from its own decisions. A stored version becomes an arm that serves a copy of it, and learns
nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, invalid
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.off_policy.documents import StagingAnswer
from app.off_policy.evaluation_request import CandidateSpec, policy_of
from app.off_policy.life.arms import NewArm, add_arm, begin_lineage, check_new_arm, spec_of, valued_of
from app.off_policy.policies import Policies
from app.off_policy.store import candidates as store
from app.registry import signed_bytes as model_bytes
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import COPIED, NewVersion
from app.registry.versions import check_can_serve
from bandits.encoding import ENCODING_VERSION
from bandits.policy import BanditPolicy, policy_to_json
from experiments.validation import DataError


def stage(engine: Engine, settings: Settings, key: str, candidate: str, share: float, actor: str) -> StagingAnswer:
    """Make a candidate a new arm with a share of the units; the shares of the other arms shrink in proportion.

    A candidate that learns waits for the worker, which learns the model that was valued; any other is an arm at once.

    :param share: 0: the arm decides nothing yet.
    :raises NotFound: no such experiment or candidate.
    :raises Unprocessable: no evaluation has valued the candidate as it is defined now, or its version cannot serve.
    :raises Conflict: it is an arm already, or the experiment takes no new arm.
    """
    with transaction(engine) as connection:
        platform.next_revision(connection)
        experiment = stored_experiment(connection, key, lock=True)
        spec = spec_of(connection, experiment, candidate)
        check_new_arm(experiment, candidate)
        policy = None if spec.model is not None else policy_of(spec)
        if isinstance(policy, BanditPolicy):
            asked = _ask(connection, experiment, spec, share, actor)
            platform.record_change(
                connection, actor=actor, kind="candidate_staged", experiment_id=experiment.id, after=asked
            )
        elif policy is not None:
            add_arm(connection, settings, experiment, NewArm(candidate, share, policy_to_json(policy), actor))
        else:
            _serve_copy(connection, settings, experiment, spec, share, actor)
        return answer_of(connection, key, candidate)


def get(engine: Engine, key: str, candidate: str) -> StagingAnswer:
    """Where a candidate stands.

    :raises NotFound: no such experiment or candidate.
    """
    with transaction(engine) as connection:
        return answer_of(connection, key, candidate)


def answer_of(connection: Connection, key: str, candidate: str) -> StagingAnswer:
    """Where a candidate stands. See ``get``."""
    experiment = stored_experiment(connection, key)
    asked = store.staging(connection, experiment.id, candidate)
    arm = next((arm for arm in ExperimentConfig.model_validate(experiment.config).arms if arm.key == candidate), None)
    if arm is None:
        spec_of(connection, experiment, candidate)  # exists
    if arm is not None:
        begun = models.begun_with(connection, experiment.id, candidate)
        return StagingAnswer(
            candidate=candidate,
            status="staged",
            share=arm.share,
            evaluation=begun.manifest.get("evaluation") if begun else None,
            sha256=begun.sha256 if begun else None,
            problem=None,
        )
    if asked is None:
        valued = valued_of(connection, experiment.id, spec_of(connection, experiment, candidate))
        return StagingAnswer(
            candidate=candidate,
            status="candidate",
            share=None,
            evaluation=valued.evaluation_id if valued else None,
            sha256=str(valued.model["sha256"]) if valued else None,
            problem=None,
        )
    return StagingAnswer.model_validate(
        {
            "candidate": candidate,
            "status": "failed" if asked.get("problem") else "waiting",
            "share": asked["share"],
            "evaluation": asked["evaluation"],
            "sha256": asked["sha256"],
            "problem": asked.get("problem"),
        }
    )


def _ask(
    connection: Connection,
    experiment: StoredExperiment,
    spec: CandidateSpec,
    share: float,
    actor: str,
) -> JsonObject:
    """Store what a person asked for, which must have been valued."""
    valued = valued_of(connection, experiment.id, spec)
    if valued is None:
        raise invalid((FieldError("/candidate", "candidate_not_valued", {"key": spec.key}),))
    asked: JsonObject = {
        "share": share,
        "evaluation": valued.evaluation_id,
        "sha256": valued.model["sha256"],
        "actor": actor,
        "asked_at": iso(datetime.now(UTC)),
    }
    store.set_staging(connection, experiment.id, spec.key, asked)
    return asked


def _serve_copy(
    connection: Connection,
    settings: Settings,
    experiment: StoredExperiment,
    spec: CandidateSpec,
    share: float,
    actor: str,
) -> None:
    """Add an arm that serves a copy of a stored version, for good."""
    model: Mapping[str, JsonValue] = spec.model or {}
    of, number = str(model["arm"]), int(str(model["version"]))
    config = ExperimentConfig.model_validate(experiment.config)
    try:
        policy = Policies(connection, settings, experiment, config).served(of, tuple(spec.features_off))
    except DataError:
        raise invalid((FieldError("/candidate", "arm_does_not_learn", {"arm": of, "known": []}),)) from None
    source = models.find(connection, experiment.id, of, number)
    if source is None:
        raise invalid((FieldError("/candidate", "unknown_version", {"arm": of, "version": number}),))
    check_can_serve(source)
    add_arm(connection, settings, experiment, NewArm(spec.key, share, policy_to_json(policy), actor))
    if source.examples == 0:
        return  # untrained, as the arm is
    _, plain = model_bytes.load(connection, source.id, settings.secret_key)
    manifest: JsonObject = {
        "kind": COPIED,
        "copied_arm": of,
        "parent_number": source.number,
        "parent_sha256": source.sha256,
        "decisions": 0,
        "generation": 0,
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(policy),
    }
    begin_lineage(connection, settings, NewVersion(
        experiment.id, spec.key, 1, source.id, COPIED, source.examples, manifest, dict(source.checks)
    ), plain)  # fmt: skip
