"""Collects what the off-policy page shows: one evaluation, the candidates, and whether the estimators agree."""

from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import NotFound
from app.foundation.store.engine import transaction
from app.off_policy import evaluations
from app.off_policy.documents import EvaluationAnswer, PolicyLine, StagingAnswer
from app.off_policy.evaluation_request import CandidateSpec
from app.off_policy.life import staging
from app.off_policy.store import candidates as candidates_store
from app.off_policy.store import evaluations as store
from app.off_policy.store.evaluations import Listed
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.verification.store import browse
from bandits.contributions import names_of
from experiments.off_policy.agreement import Agreement, agreement

LISTED = 50
CONTEXTS = 200  # newest decisions that are searched for context fields
MAX_FIELDS = 100  # as many as a candidate may switch off
SHRUNK = ("switch_dr", "dr_os", "clipped_ips")  # their normal interval does not cover the policy's value
LISTS = ("list_dr", "list_cascade", "list_ips")
UNBIASED = ("dr", "sndr", "snips", "ips", *LISTS)
ORDER = (*UNBIASED, *SHRUNK, "dm")


class Estimated(NamedTuple):
    """One policy's value by one estimator."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    reason: str  # why there is no value, or no interval around it


class Policy(NamedTuple):
    """One line of a report, with what a page draws."""

    line: PolicyLine
    estimated: list[Estimated]
    agreement: Agreement
    candidate: bool  # it is still stored, so it may be staged


class Report(NamedTuple):
    """The evaluations of an experiment, with one shown in full."""

    listed: list[Listed]  # newest first
    under_way: Listed | None  # the oldest evaluation that is not finished
    shown: EvaluationAnswer | None
    actor: str  # who asked for it
    policies: list[Policy]
    candidates: list[CandidateSpec]  # stored now
    status: str  # of the experiment, now
    arms: list[str]  # of the experiment, now
    stagings: dict[str, StagingAnswer]  # by candidate, where it stands now


class Choices(NamedTuple):
    """The fields, actions and models that a candidate may use."""

    fields: list[str]  # top-level context fields of the newest decisions
    actions: list[str]
    serving: dict[str, int]  # by learning arm, the version that serves


def report(engine: Engine, key: str, evaluation_id: int | None = None) -> Report:
    """One evaluation in full, and a list of all. Without an id, the newest evaluation that is done.

    :raises NotFound: no such experiment, or it has no such evaluation.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        row = _row(connection, experiment.id, key, evaluation_id)
        listed = store.listed(connection, experiment.id, LISTED)
        candidates = [
            CandidateSpec.model_validate(spec) for spec in candidates_store.of_experiment(connection, experiment.id)
        ]
        stagings = {spec.key: staging.answer_of(connection, key, spec.key) for spec in candidates}
    waiting = [evaluation for evaluation in listed if evaluation.status in ("queued", "running")]
    shown = None if row is None else evaluations.answer_of(key, row)
    stored_keys = {spec.key for spec in candidates}
    lines = shown.result.policies if shown and shown.result else []
    policies = [Policy(line, estimated(line), agree(line), line.policy in stored_keys) for line in lines]
    arms = [arm.key for arm in ExperimentConfig.model_validate(experiment.config).arms]
    return Report(
        listed,
        waiting[-1] if waiting else None,
        shown,
        row.actor if row else "",
        policies,
        candidates,
        experiment.status,
        arms,
        stagings,
    )


def progress(engine: Engine, key: str, evaluation_id: int) -> Listed | None:
    """The progress of an evaluation, without its result; null when it is not among the newest ``LISTED``."""
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        return next(
            (
                evaluation
                for evaluation in store.listed(connection, experiment.id, LISTED)
                if evaluation.id == evaluation_id
            ),
            None,
        )


def choices(engine: Engine, key: str) -> Choices:
    """The choices that the form for a candidate offers.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        contexts = browse.newest_contexts(connection, experiment.id, CONTEXTS)
        serving = models.serving(connection, experiment_id=experiment.id)
    fields = dict.fromkeys(name for context in contexts for name in names_of(context))
    actions = [action.id for action in ExperimentConfig.model_validate(experiment.config).all_actions()]
    return Choices(list(fields)[:MAX_FIELDS], actions, {row.arm: row.number for row in serving})


def estimated(line: PolicyLine) -> list[Estimated]:
    """A policy's value by every estimator, each with an interval that covers the policy's value."""
    estimates = []
    for name, estimator in sorted(line.estimators.items(), key=lambda item: ORDER.index(item[0])):
        interval = estimator.intervals.get("bias_aware" if name in SHRUNK else "normal")
        low, high, why = (interval.low, interval.high, interval.reason) if interval else (None, None, "")
        estimates.append(Estimated(name, estimator.value, low, high, estimator.reason or why))
    return estimates


def agree(line: PolicyLine) -> Agreement:
    """Whether the unbiased estimators of a policy's value have a value in common."""
    return agreement(
        {
            estimate.name: (estimate.low, estimate.high)
            for estimate in estimated(line)
            if estimate.name in UNBIASED and estimate.low is not None and estimate.high is not None
        }
    )


def _row(connection: Connection, experiment_id: int, key: str, evaluation_id: int | None) -> store.Evaluation | None:
    if evaluation_id is None:
        return store.newest_done(connection, experiment_id)
    row = store.find(connection, experiment_id, evaluation_id)
    if row is None:
        raise NotFound("unknown_evaluation", f"Experiment {key!r} has no evaluation {evaluation_id}.")
    return row
