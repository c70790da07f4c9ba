"""Everything that is known about an experiment, brought together for a page or a report to send. Computes nothing."""

from typing import NamedTuple

from sqlalchemy import Engine

from app.design import history as trail
from app.design.experiment_config import ExperimentConfig
from app.foundation.store.engine import transaction
from app.off_policy import evaluations
from app.off_policy.documents import EvaluationAnswer
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting import activity, health_checks, results
from app.reporting.documents.activity import Activity
from app.reporting.documents.health import StoredHealth
from app.reporting.documents.results import Results
from app.reporting.results import Look

NOTES = 200  # the newest notes that a report holds


class Findings(NamedTuple):
    """The results of an experiment as they stand. Null: the worker has not computed it yet."""

    experiment: StoredExperiment
    results: Results | None
    by_segment: Results | None  # the same, split by the field that was asked for
    looks: list[Look]  # at the first primary metric, oldest first
    health: StoredHealth | None


class Whole(NamedTuple):
    """What a report to send holds beside the findings."""

    findings: Findings
    segments: list[Results]  # by each declared field, as far as they are computed
    activity: Activity | None
    evaluation: EvaluationAnswer | None  # the newest finished off-policy evaluation
    notes: list[trail.Line]  # newest first


def get(engine: Engine, key: str, *, method: str = "sequential", segment: str | None = None) -> Findings:
    """The newest findings.

    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
    found = results.newest(engine, key, method=method)
    split = results.newest(engine, key, method=method, segment=segment) if segment is not None else None
    return Findings(experiment, found, split, results.history(engine, key), health_checks.stored(engine, key))


def whole(engine: Engine, key: str) -> Whole:
    """The newest findings with all that explains them.

    :raises NotFound: no such experiment.
    """
    found = get(engine, key)
    declared = ExperimentConfig.model_validate(found.experiment.config).segments
    split = [results.newest(engine, key, segment=name) for name in declared]
    return Whole(
        found,
        [by_field for by_field in split if by_field is not None],
        activity.get(engine, key),
        evaluations.newest_done(engine, key),
        trail.newest(engine, experiment_key=key, kind="note", most=NOTES).lines,
    )
