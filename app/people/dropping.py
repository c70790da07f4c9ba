"""Drops whole months of the log once retention has stripped all their decisions, and the set time is over.

A month of decisions is a partition of the log, so its rows need not be deleted one by one. Reports, learning and erasures leave
stripped decisions out already. A month in which an experiment keeps its people stays, and so do later ones.
"""

import structlog
from sqlalchemy import Engine

from app.foundation.settings import Settings
from app.foundation.store import chain, partitions, platform
from app.foundation.store.engine import transaction
from app.foundation.store.locks import Kind, hold
from app.learning.store import rewards, training, warm
from app.people.store import dropping as store
from app.people.store.dropping import Old

KIND = "dropping"
log = structlog.get_logger()


def run(engine: Engine, settings: Settings) -> list[str]:
    """Drop the months that are due; returns the names of their tables. One process at a time.

    If something holds the log for long, it is tried again at the next call: their rows do not count any more.
    """
    if not settings.log_retention_s:
        return []
    due = _due(engine, settings.log_retention_s)
    if not due:
        return []
    end = due[-1].end
    with transaction(engine) as connection:
        began = platform.now(connection)
        experiment_ids = store.experiments(connection, end)
        for experiment_id in sorted({*experiment_ids, *warm.learners(connection, experiment_ids)}):
            training.lock_every_lineage(connection, experiment_id)
        lessons = store.remove_rows(connection, end)
        chain.note_dropped(connection, end, lessons)
    with transaction(engine) as connection:
        rewards.pass_gate(connection)
    with transaction(engine) as connection:
        hold(connection, Kind.ALONE, partitions.NAME)
        store.remove_late(connection, experiment_ids, began)
        if not store.drop(connection, due):
            return []
    return [partition.name for partition in due]


def _due(engine: Engine, older_than_s: float) -> list[Old]:
    """The oldest partitions of the log, up to the first that must stay."""
    due: list[Old] = []
    with transaction(engine) as connection:
        for partition in store.old(connection, older_than_s):
            keeping = store.keeping(connection, partition.end)
            if keeping:
                log.info("partition_kept", partition=partition.name, experiments=keeping)
                break
            due.append(partition)
        if due and due[-1].name == partitions.EARLY and store.is_empty(connection, due[-1].end):
            return []
    return due
