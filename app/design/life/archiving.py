"""Puts experiments that are over out of sight, and deletes those that never ran."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from app.accounts.store import keys
from app.foundation.errors import Conflict
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import experiments as store
from app.registry.store.experiments import StoredExperiment


def archive(engine: Engine, key: str, actor: str) -> StoredExperiment:
    """Let lists leave an experiment out. Its log, models and reports stay; starting it again shows it again.

    :raises NotFound: no such experiment.
    :raises Conflict: it is running.
    """
    with transaction(engine) as connection:
        return _archive(connection, key, actor)


def archive_all(engine: Engine, keys: Sequence[str], actor: str) -> int:
    """Archive several experiments, or none; returns how many.

    :raises NotFound: one of them does not exist.
    :raises Conflict: one of them is running.
    """
    with transaction(engine) as connection:
        for key in sorted(set(keys)):
            _archive(connection, key, actor)
    return len(set(keys))


def restore(engine: Engine, key: str, actor: str) -> StoredExperiment:
    """Show an archived experiment in lists again.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        before = stored_experiment(connection, key, lock=True)
        if before.archived_at is not None:
            store.set_archived(connection, before.id, False)
            platform.record_change(connection, actor=actor, kind="experiment_restored", experiment_id=before.id)
        return stored_experiment(connection, key)


def delete_draft(engine: Engine, key: str, actor: str) -> None:
    """Delete an experiment that was never started. Its key is free again, and the API keys that were made for it are revoked.

    The audit log keeps what it was.

    :raises NotFound: no such experiment.
    :raises Conflict: it was started, so its log has to stay.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        before = stored_experiment(connection, key, lock=True)
        if before.started_at is not None or before.status != "draft":
            message = "Only a draft that was never started can be deleted. Archive this experiment instead."
            raise Conflict("not_a_draft", message)
        store.remove_draft(connection, before.id)
        for key_id in keys.revoke_of(connection, before.id, revision):
            platform.record_change(connection, actor=actor, kind="key_revoked", before={"id": key_id})
        platform.record_change(
            connection, actor=actor, kind="experiment_deleted", experiment_id=before.id, before=before.config
        )


def _archive(connection: Connection, key: str, actor: str) -> StoredExperiment:
    before = stored_experiment(connection, key, lock=True)
    if before.status == "running":
        raise Conflict("archive_running", f"{key} is running. Pause or conclude it before you archive it.")
    if before.archived_at is None:
        store.set_archived(connection, before.id, True)
        platform.record_change(connection, actor=actor, kind="experiment_archived", experiment_id=before.id)
    return stored_experiment(connection, key)
