"""The candidate policies of an experiment: policies that never ran, to be evaluated and perhaps staged."""

from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import FieldError, NotFound
from app.foundation.fields import invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.off_policy.evaluation_request import MAX_CANDIDATES, CandidateSpec, check_candidate
from app.off_policy.store import candidates as store
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment


def add(engine: Engine, key: str, spec: CandidateSpec, actor: str) -> CandidateSpec:
    """Store a candidate policy.

    :raises Unprocessable: the candidate cannot be evaluated; the error says why.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        check_candidate(spec, ExperimentConfig.model_validate(experiment.config))
        if spec.model is not None:
            _check_model(connection, experiment, str(spec.model["arm"]), int(str(spec.model["version"])))
        before = find(connection, experiment.id, spec.key)
        if before is None:
            check_room(connection, experiment.id, 1)
        put(connection, experiment.id, spec, actor)
    return spec


def check_room(connection: Connection, experiment_id: int, more: int) -> None:
    """Refuse so many more candidates than an experiment may have.

    :raises Unprocessable: there is no room.
    """
    if len(store.of_experiment(connection, experiment_id)) + more > MAX_CANDIDATES:
        raise invalid((FieldError("/key", "too_many_candidates", {"limit": MAX_CANDIDATES}),))


def put(connection: Connection, experiment_id: int, spec: CandidateSpec, actor: str) -> None:
    """Store a candidate that may be evaluated, and write down who did."""
    before, plain = find(connection, experiment_id, spec.key), spec.model_dump(mode="json")
    store.put(connection, experiment_id, spec.key, plain)
    platform.record_change(
        connection, actor=actor, kind="candidate_stored", experiment_id=experiment_id, before=before, after=plain
    )


def remove(engine: Engine, key: str, candidate: str, actor: str) -> None:
    """Remove a candidate. Evaluations that are done keep their lines on it.

    :raises NotFound: no such candidate.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        before = find(connection, experiment.id, candidate)
        if before is None:
            raise unknown(key, candidate)
        store.remove(connection, experiment.id, candidate)
        platform.record_change(
            connection, actor=actor, kind="candidate_removed", experiment_id=experiment.id, before=before
        )


def _check_model(connection: Connection, experiment: StoredExperiment, arm: str, number: int) -> None:
    """Refuse a model version that is not stored: such a candidate could never be evaluated."""
    learning = [row.arm for row in models.serving(connection, experiment_id=experiment.id)]
    if arm not in learning:
        raise invalid((FieldError("/model/arm", "arm_does_not_learn", {"arm": arm, "known": learning}),))
    version = models.find(connection, experiment.id, arm, number) if 0 <= number < 2**31 else None
    if version is None:
        raise invalid((FieldError("/model/version", "unknown_version", {"arm": arm, "version": number}),))
    if version.forgotten:
        raise invalid((FieldError("/model/version", "version_forgotten", {"version": number}),))


def find(connection: Connection, experiment_id: int, candidate: str) -> dict[str, JsonValue] | None:
    return next((spec for spec in store.of_experiment(connection, experiment_id) if spec["key"] == candidate), None)


def unknown(key: str, candidate: str) -> NotFound:
    return NotFound("unknown_candidate", f"Experiment {key!r} has no candidate {candidate!r}.")


def listed(engine: Engine, key: str) -> list[CandidateSpec]:
    """The stored candidates of an experiment, oldest first."""
    with transaction(engine) as connection:
        stored = store.of_experiment(connection, stored_experiment(connection, key).id)
    return [CandidateSpec.model_validate(spec) for spec in stored]
