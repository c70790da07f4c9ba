"""The tasks. Each is a shell of a few lines around a service."""

from functools import cache

from sqlalchemy import Engine

from app.services import training
from app.store.engine import create
from worker.celery_app import app, settings


@cache
def _engine() -> Engine:
    return create(settings.database_url, settings)  # made on first use: after the worker forked


@app.task(name="worker.tasks.train")
def train() -> None:
    """Wake the learner of every lineage in which a reward window closed."""
    for experiment_id, arm in training.due_lineages(_engine()):
        train_lineage.apply_async((experiment_id, arm), expires=settings.beat_interval_s)


@app.task(name="worker.tasks.train_lineage")
def train_lineage(experiment_id: int, arm: str) -> None:
    """One training round of one arm."""
    training.train_round(_engine(), settings, experiment_id, arm)
