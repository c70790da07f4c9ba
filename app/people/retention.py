"""Retention: after an experiment's time, a decision loses whatever points to its unit.

What is left is what was chosen, from what, with which probability, and its rewards: a row without unit, context, message
and feedback, sealed anew and marked. It is in no report any more. Models keep what they learned; a later rebuild does not
learn it again.
"""

from sqlalchemy import Engine

from app.deciding.seal import seal
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.people.store import retention as store

SLICE = 2000


def run(engine: Engine, settings: Settings) -> int:
    """Blank everything whose time has come, a slice at a time; returns how many decisions."""
    with transaction(engine) as connection:
        kept = store.kept_experiments(connection)
    count = 0
    for experiment_id, retention_s in kept:
        done = SLICE
        while done == SLICE:
            done = _slice(engine, settings, experiment_id, retention_s)
            count += done
    return count


def forget_events(engine: Engine, settings: Settings) -> int:
    """Remove events that triggers cannot need any more, and the firings of as long ago; returns how many events."""
    forgotten = [0, 0]
    for place, delete in enumerate((store.delete_events, store.delete_firings)):
        done = SLICE
        while done == SLICE:
            with transaction(engine) as connection:
                done = delete(connection, settings.event_retention_s, SLICE)
            forgotten[place] += done
    return forgotten[0]


def _slice(engine: Engine, settings: Settings, experiment_id: int, retention_s: float) -> int:
    with transaction(engine) as connection:
        rows = store.expired(connection, experiment_id, retention_s, SLICE)
        left = [store.blanked(row) for row in rows]
        if rows:
            seals = {row.id: seal(settings.secret_key, row) for row in left}
            store.blank(connection, experiment_id, seals)
    return len(rows)
