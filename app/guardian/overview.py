"""What is watched in an experiment as it stands, and the incidents of the whole platform."""

from sqlalchemy import Engine

from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.guardian import context, incidents, pipeline
from app.guardian.context import WatchedContext
from app.guardian.documents import Guarded, Incident, SubjectKind, WatchDocument, WatchedNow, WatchedSubject
from app.guardian.store import incidents as store
from app.guardian.thresholds import BETWEEN, threshold_of
from app.guardian.watching import KIND, stored
from app.registry.lookup import stored_experiment
from app.registry.store import experiments
from experiments.monitoring import falls
from experiments.monitoring.falls import Watch

MOST = 200  # incidents of the platform that are listed


def guarded(engine: Engine, key: str) -> Guarded:
    """What is watched in an experiment, and its newest incidents.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        newest = latest.get(connection, experiment.id, KIND)
        watched, subjects = stored(connection, experiment.id).watches, context.stored(connection, experiment.id)
    threshold = threshold_of(len({watch.arm for watch in watched}))
    return Guarded(
        experiment=key,
        computed_at=None if newest is None else iso(newest.computed_at),
        observations_between_false_alarms=BETWEEN,
        watched=[_now(watch, threshold) for watch in watched],
        over_all_arms=_subjects(subjects, threshold),
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


def _subjects(watched: WatchedContext, threshold: float) -> list[WatchedSubject]:
    """The fields of the context, the clients and the delay of rewards."""

    def subject(kind: SubjectKind, name: str, watch: Watch, *, armed: bool, known: int = 0) -> WatchedSubject:
        seen = max(watch.seen, known)
        return WatchedSubject(
            kind=kind, subject=name, armed=armed, observations=seen, strength=watch.strength, threshold=threshold
        )

    fields = [
        subject("context_field", name, field.watch, armed=field.watch.known.n >= falls.LEAST, known=field.known.seen)
        for name, field in watched.fields.items()
    ]
    clients = [
        subject("client_rewards", key_id, watch, armed=pipeline.usually_rewarded(watch))
        for key_id, watch in watched.pipeline.keys.items()
    ]
    left = watched.pipeline.left
    delay = [subject("reward_delay", "", left, armed=left.known.n >= falls.LEAST)] if left.seen else []
    return [*fields, *clients, *delay]


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
