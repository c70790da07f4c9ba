"""Collects what an experiment's overview shows: figures that the worker computed, the serving models, and problems."""

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import Serving
from app.reporting import activity, home, results
from app.reporting.comparison.progress import Progress, progress
from app.reporting.documents.activity import Activity
from app.reporting.documents.results import Results
from app.reporting.home import Badge


class Overview(NamedTuple):
    """One experiment with its newest figures."""

    experiment: StoredExperiment
    badges: list[Badge]
    activity: Activity | None  # null: nothing was computed yet
    results: Results | None  # null: nothing was computed yet
    models: dict[str, Serving]  # by learning arm
    progress: Progress | None  # null: not running


def get(engine: Engine, key: str) -> Overview:
    """The newest figures of an experiment; computes nothing.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        serving = {row.arm: row for row in models.serving(connection, experiment_id=experiment.id)}
    figures = activity.get(engine, key)
    if figures is not None and figures.day != datetime.now(UTC).date().isoformat():
        # Computed before midnight: a decision since then would have made the figures due again.
        figures = figures.model_copy(update={"decisions_today": 0, "rewards_today": 0})
    newest = results.newest(engine, key)
    return Overview(experiment, home.badges_of(engine, key), figures, newest, serving, _progress(experiment, newest))


def _progress(experiment: StoredExperiment, newest: Results | None) -> Progress | None:
    config = ExperimentConfig.model_validate(experiment.config)
    if experiment.status not in ("running", "paused") or config.shipped:
        return None
    arms = sum(arm.share > 0 for arm in config.arms)
    units = sum(newest.units.values()) if newest else 0
    rule = config.decision_rule.model_dump(mode="json")
    return progress(rule, arms, units, experiment.started_at, datetime.now(UTC))
