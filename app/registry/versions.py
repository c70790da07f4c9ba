"""Model versions: which serves, what each learned, and how to return to an earlier version."""

from sqlalchemy import Engine

from app.foundation.errors import Conflict, FieldError, NotFound
from app.foundation.fields import JsonObject, invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.registry.store.models import VersionInfo


def describe(engine: Engine, experiment_key: str) -> JsonObject:
    """Every version of every learning arm, oldest first, and which serves.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        versions = models.of_experiment(connection, experiment.id)
        serving = {row.arm: row for row in models.serving(connection, experiment_id=experiment.id)}
    numbers = {version.id: version.number for version in versions}
    arms = []
    for arm, row in sorted(serving.items()):
        of_arm = [_as_json(version, numbers, row.version_id) for version in versions if version.arm == arm]
        arms.append({"arm": arm, "serving": row.number, "problem": row.problem, "versions": of_arm})
    return {"experiment": experiment_key, "arms": arms}


def rollback(engine: Engine, experiment_key: str, arm: str, number: int, reason: str, actor: str = "cli") -> JsonObject:
    """Put an earlier version into service; learning goes on from it. Every version and the ledger stay.

    :raises NotFound: no such experiment, arm or version.
    :raises Conflict: the version cannot serve; see ``check_can_serve``.
    :raises Unprocessable: no reason.
    """
    if not reason.strip():
        raise invalid((FieldError("/reason", "no_explanation"),))
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        experiment = stored_experiment(connection, experiment_key)
        before = [row for row in models.serving(connection, experiment_id=experiment.id) if row.arm == arm]
        version = models.find(connection, experiment.id, arm, number)
        if not before or version is None:
            raise NotFound("unknown_version", f"Arm {arm!r} of {experiment_key!r} has no model version {number}.")
        check_can_serve(version)
        models.serve(connection, experiment.id, arm, version.id, revision)
        platform.record_change(
            connection,
            actor=actor,
            kind="model_rollback",
            experiment_id=experiment.id,
            before={"arm": arm, "serving": before[0].number},
            after={"arm": arm, "serving": number},
            reason=reason,
        )
    return {"experiment": experiment_key, "arm": arm, "serving": number, "before": before[0].number}


def check_can_serve(version: VersionInfo) -> None:
    """:raises Conflict: the version did not pass its checks, or was forgotten with a unit that it had learned from."""
    if version.forgotten:
        message = f"Version {version.number} was forgotten: a unit that it had learned from was erased. Choose another."
        raise Conflict("version_erased", message)
    if version.checks.get("ok") is False:
        raise Conflict("version_failed_checks", f"Version {version.number} did not pass its checks and cannot serve.")


def _as_json(version: VersionInfo, numbers: dict[int, int], serving_id: int) -> JsonObject:
    return {
        "number": version.number,
        "parent": None if version.parent_id is None else numbers[version.parent_id],
        "kind": version.kind,
        "trained_on": version.manifest.get("decisions", 0),
        "examples": version.examples,
        "sha256": version.sha256,
        "serving": version.id == serving_id,
        "checks": version.checks,
        "manifest": version.manifest,
        "created_at": iso(version.created_at),
        "erased_at": None if version.erased_at is None else iso(version.erased_at),
    }
