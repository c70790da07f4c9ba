"""Keeps the results at which an arm was shipped: they are what was decided on, whatever later results say."""

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting import results
from app.reporting.documents.results import Results, StoredResults
from app.reporting.store import reports

KIND = "results_shipped"


def freeze(connection: Connection, experiment: StoredExperiment) -> StoredResults | None:
    """Keep the newest results, split ones included, as those at which an arm is shipped; null: there are none."""
    config = ExperimentConfig.model_validate(experiment.config)
    reports.forget(connection, experiment.id, KIND)
    for segment in (None, *config.segments):
        newest = reports.newest(connection, experiment.id, results.KIND, segment)
        if newest is not None:
            reports.add(
                connection, experiment.id, KIND, segment, newest.body, newest.seconds, computed_at=newest.computed_at
            )
    last = results.last(connection, experiment.id, None)
    return None if last is None else last.results


def get(engine: Engine, key: str, *, method: str = "sequential", segment: str | None = None) -> Results | None:
    """The results at which the arm that decides now was shipped; null: no arm is shipped, or there were no results.

    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        results.check(experiment, method, segment)
        if ExperimentConfig.model_validate(experiment.config).shipped is None:
            return None
        kept = results.last(connection, experiment.id, segment, KIND)
    return None if kept is None else results.served(kept, method)
