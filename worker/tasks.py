"""The tasks. Each is a shell of a few lines around a service."""

import socket
from functools import cache

from sqlalchemy import Engine

from app.services import activity, evaluations, feedback_report, health_checks, results, standing_audit, training
from app.services import rebuild as rebuilding
from app.store.engine import alone, create
from worker.celery_app import app, settings


@cache
def _engine() -> Engine:
    return create(settings.database_url, settings)  # made on first use: after the worker forked


@app.task(name="worker.tasks.train")
def train() -> None:
    """Wake a round for every arm in which a reward window closed."""
    for experiment_id, arm in training.due_arms(_engine()):
        train_arm.apply_async((experiment_id, arm), expires=settings.beat_interval_s)


@app.task(name="worker.tasks.train_arm")
def train_arm(experiment_id: int, arm: str) -> None:
    """One round of one arm: settle outcomes and learn."""
    training.train_round(_engine(), settings, experiment_id, arm)


@app.task(name="worker.tasks.rebuild")
def rebuild() -> None:
    """Bring changed feedback schemas into force."""
    with alone(_engine(), "rebuild") as mine:
        if mine:
            rebuilding.apply_waiting(_engine(), settings)


@app.task(name="worker.tasks.report")
def report() -> None:
    """Compute what analysts asked for and what is due; one process of a machine at a time, so that learning goes on."""
    with alone(_engine(), f"reports on {socket.gethostname()}") as mine:
        if mine:
            evaluations.run_waiting(_engine(), settings)
            results.compute_stale(_engine(), settings.report_interval_s)
            health_checks.compute_due(_engine(), settings.report_interval_s)
            feedback_report.compute_due(_engine(), settings.report_interval_s)
            standing_audit.run_due(_engine(), settings)


@app.task(name="worker.tasks.watch")
def watch() -> None:
    """Compute what the pages show live, while a long report may be under way in another process."""
    with alone(_engine(), "watch") as mine:
        if mine:
            activity.compute_due(_engine())
