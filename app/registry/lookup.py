"""Finds an experiment by its key, or says that there is none: the one place that words it."""

from sqlalchemy import Connection

from app.foundation.errors import NotFound
from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment


def stored_experiment(connection: Connection, key: str, *, lock: bool = False) -> StoredExperiment:
    """The experiment of that key; with ``lock`` nobody else changes it until the transaction ends.

    :raises NotFound: there is none.
    """
    found = experiments.find(connection, key, lock=lock)
    if found is None:
        raise unknown_experiment(key)
    return found


def unknown_experiment(key: str) -> NotFound:
    """The error for a key that no experiment has."""
    return NotFound("unknown_experiment", f"There is no experiment {key!r}.")
