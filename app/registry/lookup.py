"""Finds an experiment by its key, or raises the error for an unknown key."""

from sqlalchemy import Connection, Engine

from app.foundation.errors import NotFound
from app.foundation.store.engine import transaction
from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment


def stored_experiment(connection: Connection, key: str, *, lock: bool = False) -> StoredExperiment:
    """The experiment with that key; with ``lock`` nobody else changes it until the transaction ends.

    :raises NotFound: no experiment has that key.
    """
    experiment = experiments.find(connection, key, lock=lock)
    if experiment is None:
        raise unknown_experiment(key)
    return experiment


def every_key(engine: Engine) -> list[str]:
    """The keys of all experiments, oldest first."""
    with transaction(engine) as connection:
        return experiments.all_keys(connection)


def unknown_experiment(key: str) -> NotFound:
    """The error for a key that no experiment has."""
    return NotFound("unknown_experiment", f"There is no experiment {key!r}.")
