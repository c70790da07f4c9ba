"""What the ways to stage a candidate share: its definition, the arm that it becomes, and how its lineage begins."""

from typing import NamedTuple

from sqlalchemy import Connection

from app.design import experiments as experiments_service
from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.off_policy import candidate_policies
from app.off_policy.evaluation_request import CandidateSpec, policy_of
from app.off_policy.store import candidates as store
from app.registry import signed_bytes as model_bytes
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import NewVersion
from bandits.policy import BanditPolicy, policy_to_json


class NewArm(NamedTuple):
    """The arm that a candidate becomes."""

    key: str
    share: float
    policy: JsonObject
    actor: str


def spec_of(connection: Connection, experiment: StoredExperiment, candidate: str) -> CandidateSpec:
    """The definition of a candidate.

    :raises NotFound: no such candidate.
    """
    stored = candidate_policies.find(connection, experiment.id, candidate)
    if stored is None:
        raise candidate_policies.unknown(experiment.key, candidate)
    return CandidateSpec.model_validate(stored)


def check_new_arm(experiment: StoredExperiment, candidate: str) -> None:
    """:raises Conflict: the experiment takes no new arm, or has one of that key."""
    if experiment.status == "concluded":
        raise experiments_service.concluded()
    if any(arm.key == candidate for arm in ExperimentConfig.model_validate(experiment.config).arms):
        raise Conflict("already_an_arm", f"{candidate!r} is an arm of the experiment already.")


def valued_of(connection: Connection, experiment_id: int, spec: CandidateSpec) -> store.ValuedCandidate | None:
    """The newest evaluation that valued a model of this candidate as it is defined now; null: none, or it needs none."""
    policy = None if spec.model is not None else policy_of(spec)
    if not isinstance(policy, BanditPolicy):
        return None
    found = store.valued(connection, experiment_id, spec.key)
    return found if found is not None and found.model["policy"] == policy_to_json(policy) else None


def add_arm(connection: Connection, settings: Settings, experiment: StoredExperiment, arm: NewArm) -> None:
    """Give an arm its share; the shares of the others shrink in proportion."""
    config = ExperimentConfig.model_validate(experiment.config)
    arms = [other.model_dump(mode="json") | {"share": other.share * (1 - arm.share)} for other in config.arms]
    arms.append({"key": arm.key, "share": arm.share, "policy": arm.policy})
    experiments_service.change_in(connection, settings, experiment.key, {"arms": arms}, arm.actor)


def begin_lineage(connection: Connection, settings: Settings, version: NewVersion, plain: bytes) -> int:
    """Store the version that a lineage begins with, and let it serve; returns its id."""
    number = models.next_number(connection, version.experiment_id, version.arm)
    version_id, _ = model_bytes.store(connection, plain, settings.secret_key, version._replace(number=number))
    models.serve(connection, version.experiment_id, version.arm, version_id, platform.next_revision(connection))
    return version_id
