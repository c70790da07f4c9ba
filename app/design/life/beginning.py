"""The first reward window of an experiment: what has happened, and when the first results come."""

from typing import Literal, NamedTuple

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.design.store import beginning as store
from app.design.store.beginning import Beginning
from app.foundation.store.engine import transaction
from app.registry.store.experiments import StoredExperiment

OVERDUE_S = 300.0  # when outcomes are overdue for longer than this, no worker runs, or it is behind


class FirstWindow(NamedTuple):
    """Where an experiment is, that has no settled decision yet."""

    state: Literal["silent", "open", "settling", "overdue"]
    known: Beginning


def first_window(engine: Engine, experiment: StoredExperiment) -> FirstWindow | None:
    """Where an experiment is on the way to its first results; null when it has some, or is not running."""
    if experiment.status != "running":
        return None
    arms = [arm.key for arm in ExperimentConfig.model_validate(experiment.config).arms]
    with transaction(engine) as connection:
        known = store.beginning(connection, experiment.id, arms)
    return None if known is None else FirstWindow(_state(known), known)


def _state(known: Beginning) -> Literal["silent", "open", "settling", "overdue"]:
    if known.first_at is None:
        return "silent"
    if known.closes_at is None or known.closes_at > known.now:  # null: nothing is activated, so no window is open
        return "open"
    return "overdue" if (known.now - known.closes_at).total_seconds() > OVERDUE_S else "settling"
