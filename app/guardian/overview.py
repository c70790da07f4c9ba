"""What is watched in an experiment as it stands, and the incidents of the whole platform."""

from sqlalchemy import Engine

from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.guardian import incidents
from app.guardian.documents import Guarded, Incident, WatchDocument, WatchedNow
from app.guardian.store import incidents as store
from app.guardian.thresholds import BETWEEN, threshold_of
from app.guardian.watching import KIND, stored
from app.registry.lookup import stored_experiment
from app.registry.store import experiments

MOST = 200  # incidents of the platform that are listed


def guarded(engine: Engine, key: str) -> Guarded:
    """What is watched in an experiment, and its newest incidents.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        newest = latest.get(connection, experiment.id, KIND)
        watched = stored(connection, experiment.id).watches
    threshold = threshold_of(len({watch.arm for watch in watched}))
    return Guarded(
        experiment=key,
        computed_at=None if newest is None else iso(newest.computed_at),
        observations_between_false_alarms=BETWEEN,
        watched=[_now(watch, threshold) for watch in watched],
        incidents=incidents.listed(engine, key),
    )


def watches(engine: Engine, key: str) -> list[WatchDocument]:
    """The watches with their course, for pictures.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        return stored(connection, stored_experiment(connection, key).id).watches


def everywhere(engine: Engine) -> list[Incident]:
    """The incidents of all experiments: first the open ones, then the newest."""
    with transaction(engine) as connection:
        rows = store.everywhere(connection, MOST)
        keys = experiments.keys_of(connection, {row.experiment_id for row in rows})
    return [incidents.described(row, keys[row.experiment_id]) for row in rows]


def _now(watch: WatchDocument, threshold: float) -> WatchedNow:
    return WatchedNow(
        arm=watch.arm,
        stream=watch.stream,
        armed=watch.armed,
        observations=watch.state.seen,
        strength=watch.state.strength,
        threshold=threshold,
        level=watch.points[-1].level if watch.points else None,
        since=watch.since,
    )
