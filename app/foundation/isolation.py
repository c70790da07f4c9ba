"""Does the same for many experiments so that one that fails stops no other: it is logged, counted, shown and tried again."""

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine

from app.foundation import metrics
from app.foundation.errors import LoopwiseError, Unavailable
from app.foundation.store import latest
from app.foundation.store.engine import transaction

log = structlog.get_logger()


def each(engine: Engine, kind: str, keys: Sequence[str], work: Callable[[str], object]) -> list[str]:
    """Call ``work`` with each key; returns the keys of those that worked.

    One that raises is noted under ``kind`` as the problem of its experiment, and rests before it is tried again: for 10 s,
    then twice as long every time, up to an hour.
    """
    with transaction(engine) as connection:
        failed = latest.failed(connection, kind)
    return [key for key in keys if not failed.get(key, False) and _one(engine, kind, key, work, key in failed)]


def each_due(
    engine: Engine,
    kind: str,
    work: Callable[[str], object],
    *,
    every_s: float,
    factor: float,
    rewards: bool = False,
) -> list[str]:
    """Call ``work``, as `each` does, with the key of each experiment whose document of a kind is due.

    :param every_s: the least time between two documents of an experiment.
    :param factor: at most one part in so many of a worker's time goes into one experiment's document.
    :param rewards: a reward makes it due, too, before its decision is settled.
    """
    with transaction(engine) as connection:
        keys = latest.due(connection, kind, every_s=every_s, factor=factor, rewards=rewards)
    return each(engine, kind, keys, work)


def in_turn(*steps: tuple[str, Callable[[], object]]) -> None:
    """Take every step, named for the log and the metric, whether the one before worked or not.

    :raises Unavailable: the database is away.
    """
    for name, step in steps:
        try:
            step()
        except Unavailable:
            raise
        except Exception:  # the next step must have its turn
            log.exception("step_failed", step=name)
            metrics.count_failure(name)


def _one(engine: Engine, kind: str, key: str, work: Callable[[str], object], failed_before: bool) -> bool:
    try:
        work(key)
    except Unavailable:  # of the database: no other would work either
        raise
    except Exception as failure:  # whatever it is, the next experiment must have its turn
        log.exception("experiment_failed", experiment=key, kind=kind)
        metrics.count_failure(kind)
        words = (
            str(failure) if isinstance(failure, LoopwiseError) else f"{type(failure).__name__}; see the worker's log"
        )
        with transaction(engine) as connection:
            latest.note_problem(connection, key, kind, words)
        return False
    if failed_before:
        with transaction(engine) as connection:
            latest.clear_problem(connection, key, kind)
    return True
