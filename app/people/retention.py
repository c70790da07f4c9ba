"""Retention: after an experiment's time, a decision loses everything that points to its unit.

The row keeps the chosen action, the eligible actions, their probabilities and the rewards. It loses unit, context, message
and feedback, and is sealed again and marked. Reports do not count it any more. Models keep what they learned from it; a
later rebuild does not learn it again.
"""

from sqlalchemy import Engine

from app.deciding.seal import seal
from app.foundation.isolation import each
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.people.store import retention as store
from app.registry.store import experiments

KIND = "retention"
SLICE = 2000


def run(engine: Engine, settings: Settings) -> int:
    """Blank all expired decisions, a slice at a time; returns their number."""
    with transaction(engine) as connection:
        kept = dict(store.kept_experiments(connection))
        by_key = {key: experiment_id for experiment_id, key in experiments.keys_of(connection, kept.keys()).items()}
    counts: list[int] = []

    def blank(key: str) -> None:
        done = SLICE
        while done == SLICE:
            done = _slice(engine, settings, by_key[key], kept[by_key[key]])
            counts.append(done)

    each(engine, KIND, list(by_key), blank)
    return sum(counts)


def forget_events(engine: Engine, settings: Settings) -> int:
    """Remove events that triggers cannot need any more, and firings that are as old; returns the number of events."""
    forgotten = [0, 0]
    for index, delete in enumerate((store.delete_events, store.delete_firings)):
        done = SLICE
        while done == SLICE:
            with transaction(engine) as connection:
                done = delete(connection, settings.event_retention_s, SLICE)
            forgotten[index] += done
    return forgotten[0]


def _slice(engine: Engine, settings: Settings, experiment_id: int, retention_s: float) -> int:
    with transaction(engine) as connection:
        rows = store.expired(connection, experiment_id, retention_s, SLICE)
        remains = [store.blanked(row) for row in rows]
        if rows:
            seals = {row.id: row.seal and seal(settings.secret_key, row) for row in remains}  # imported: none
            store.blank(connection, experiment_id, seals)
    return len(rows)
