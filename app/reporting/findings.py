"""Collects the stored results of an experiment for a page or for a report to send. Computes nothing."""

from typing import NamedTuple

from sqlalchemy import Engine

from app.design import history as trail
from app.design.experiment_config import ExperimentConfig
from app.foundation.store.engine import transaction
from app.off_policy import evaluations
from app.off_policy.documents import EvaluationAnswer
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting import activity, frozen, health_checks, results
from app.reporting.documents.activity import Activity
from app.reporting.documents.health import StoredHealth
from app.reporting.documents.results import HeldOut, Results
from app.reporting.documents.whom import WhomReport
from app.reporting.results import Look
from app.reporting.whom import report as whom

FRESH_S = 60.0
NOTES = 200  # the newest notes; a report holds at most so many


class Findings(NamedTuple):
    """The newest results of an experiment. A null field: the worker has not computed it yet."""

    experiment: StoredExperiment
    results: Results | None
    by_segment: Results | None  # the same results, split by the requested field
    looks: list[Look]  # at the first primary metric, oldest first
    health: StoredHealth | None


class Whole(NamedTuple):
    """The findings and what else a report to send contains."""

    findings: Findings
    segments: list[Results]  # one for each declared field, if the worker computed it
    activity: Activity | None
    evaluation: EvaluationAnswer | None  # the newest finished off-policy evaluation
    whom: WhomReport
    notes: list[trail.Line]  # newest first


def get(
    engine: Engine,
    key: str,
    *,
    method: str = "sequential",
    segment: str | None = None,
    live: bool = False,
    held_out: HeldOut = "with",
) -> Findings:
    """The newest findings; while an arm is shipped, those at which it was shipped.

    :param live: the newest in any case.
    :param held_out: results without the decisions that are held out for suspects are computed now if they are old.
    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
    kept = None if live else frozen.get(engine, key, method=method)
    source = results.newest if kept is None else frozen.get
    overall = kept or results.newest(engine, key, method=method)
    if held_out == "without":
        overall = results.get(engine, key, method=method, max_age_s=FRESH_S, held_out=held_out)
    split = source(engine, key, method=method, segment=segment) if segment is not None else None
    return Findings(experiment, overall, split, results.history(engine, key), health_checks.stored(engine, key))


def whole(engine: Engine, key: str) -> Whole:
    """The newest findings with activity, the newest evaluation and notes.

    :raises NotFound: no such experiment.
    """
    newest = get(engine, key)
    declared = ExperimentConfig.model_validate(newest.experiment.config).segments
    split = [results.newest(engine, key, segment=name) for name in declared]
    return Whole(
        newest,
        [by_field for by_field in split if by_field is not None],
        activity.get(engine, key),
        evaluations.newest_done(engine, key),
        whom.stored(engine, key),
        trail.newest(engine, experiment_key=key, kind="note", most=NOTES).lines,
    )
