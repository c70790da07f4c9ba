"""Tells the person who integrates an app what arrived from it."""

from sqlalchemy import Engine

from app.deciding.store import arrivals as store
from app.deciding.store.arrivals import Arrivals
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment


def arrivals(engine: Engine, key: str) -> Arrivals:
    """The first call, the newest call and the newest reward of an experiment.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        return store.arrivals(connection, stored_experiment(connection, key).id)
