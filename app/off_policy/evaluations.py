"""Evaluates candidate policies off-policy on the platform's own log. Callers queue an evaluation; the worker computes it.

Policies are evaluated on the later part of the log, each on decisions that it had not learned from. An evaluation changes
nothing that runs: you may stage a winner as a new arm.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

import structlog
from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict, FieldError, LoopwiseError, NotFound
from app.foundation.fields import invalid
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.off_policy import candidate_policies
from app.off_policy.documents import EvaluationAnswer, EvaluationResult, TunedLine
from app.off_policy.evaluation_request import (
    CandidateSpec,
    EvaluationRequest,
    TuneRequest,
    check_price,
)
from app.off_policy.evaluation_table import evaluate
from app.off_policy.log_table import build
from app.off_policy.policies import Policies, learning_arms
from app.off_policy.store import candidates as candidates_store
from app.off_policy.store import evaluations as store
from app.off_policy.tuning.halving import search
from app.off_policy.tuning.space import policies as policies_of
from app.registry.lookup import stored_experiment
from app.registry.store import experiments
from bandits.policy import PolicyError
from experiments.validation import DataError

LISTED = 100
MIN_ROWS = 100
TUNING = 0.7  # share of a search's progress that the choice takes
LONGEST_NUMBER = 18  # digits of an evaluation's number, which is a bigint

log = structlog.get_logger()


def ask(engine: Engine, key: str, request: EvaluationRequest, actor: str) -> EvaluationAnswer:
    """Queue an evaluation.

    :raises Unprocessable: a requested candidate is not stored, or the stretch of the log ends before it begins.
    :raises Conflict: another evaluation has that ``own_id``.
    """
    if request.since is not None and request.until is not None and request.until <= request.since:
        raise invalid((FieldError("/until", "ends_before_it_begins"),))
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        stored = [spec["key"] for spec in candidates_store.of_experiment(connection, experiment.id)]
        for index, name in enumerate(request.candidates or []):
            if name not in stored:
                params = {"key": name, "known": stored}
                raise invalid((FieldError(f"/candidates/{index}", "unknown_candidate", params),))
        if request.price is not None:
            check_price(request.price, learning_arms(ExperimentConfig.model_validate(experiment.config)))
        if request.own_id is not None:
            store.hold_own_id(connection, experiment.id, request.own_id)
            if store.find_own(connection, experiment.id, request.own_id) is not None:
                raise Conflict("evaluation_exists", f"Evaluation {request.own_id!r} exists; choose another id.")
        evaluation_id = store.add(connection, experiment.id, request.model_dump(mode="json"), actor)
        return answer_of(key, store.by_id(connection, evaluation_id))


def tune(engine: Engine, key: str, request: TuneRequest, actor: str) -> EvaluationAnswer:
    """Queue a search for a better policy: an evaluation whose candidates are the best of many, chosen on its earlier part.

    :raises Unprocessable: a setting cannot be used, or there is no room for the candidates.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        candidate_policies.check_room(connection, experiment.id, request.tune.finalists)
    composed = ExperimentConfig.model_validate(experiment.config).composition is not None
    try:
        policies_of(request.tune.space, request.tune.points, request.tune.seed, slates=composed)
    except PolicyError as error:
        raise invalid((FieldError("/tune/space", error.problems[0].code, error.problems[0].params),)) from None
    asked = EvaluationRequest(
        train_share=1.0 - request.test_share,
        since=request.since,
        until=request.until,
        max_decisions=request.max_decisions,
        alpha=request.alpha,
        tune=request.tune,
    )
    return ask(engine, key, asked, actor)


def get(engine: Engine, key: str, evaluation_id: int) -> EvaluationAnswer:
    """One evaluation.

    :raises NotFound: the experiment has no evaluation with that id.
    """
    with transaction(engine) as connection:
        row = store.find(connection, stored_experiment(connection, key).id, evaluation_id)
        if row is None:
            raise NotFound("unknown_evaluation", f"Experiment {key!r} has no evaluation {evaluation_id}.")
        return answer_of(key, row)


def get_own(engine: Engine, key: str, own_id: str) -> EvaluationAnswer:
    """One evaluation by the id that its caller gave it, or by its number.

    :raises NotFound: the experiment has no such evaluation.
    """
    with transaction(engine) as connection:
        return answer_of(key, _own(connection, key, own_id))


def remove(engine: Engine, key: str, own_id: str, actor: str) -> None:
    """Remove an evaluation, with its result. The candidates stay.

    :raises NotFound: the experiment has no such evaluation.
    """
    with transaction(engine) as connection:
        row = _own(connection, key, own_id)
        store.remove(connection, row.id)
        before: dict[str, JsonValue] = {"evaluation": row.id, "request": row.request}
        platform.record_change(
            connection, actor=actor, kind="evaluation_removed", experiment_id=row.experiment_id, before=before
        )


def _own(connection: Connection, key: str, own_id: str) -> store.Evaluation:
    experiment = stored_experiment(connection, key)
    row = store.find_own(connection, experiment.id, own_id)
    if row is None and own_id.isascii() and own_id.isdigit() and len(own_id) <= LONGEST_NUMBER:
        row = store.find(connection, experiment.id, int(own_id))
    if row is None:
        raise NotFound("unknown_evaluation", f"Experiment {key!r} has no evaluation {own_id!r}.")
    return row


def newest(engine: Engine, key: str) -> list[EvaluationAnswer]:
    """The evaluations of an experiment, newest first."""
    with transaction(engine) as connection:
        rows = store.newest(connection, stored_experiment(connection, key).id, LISTED)
        return [answer_of(key, row) for row in rows]


def newest_done(engine: Engine, key: str) -> EvaluationAnswer | None:
    """The newest evaluation that has a result; null when there is none."""
    with transaction(engine) as connection:
        row = store.newest_done(connection, stored_experiment(connection, key).id)
    return None if row is None else answer_of(key, row)


def newest_price(engine: Engine, key: str) -> EvaluationAnswer | None:
    """The newest evaluation that asks what bounds on exposure would cost; null when there is none."""
    with transaction(engine) as connection:
        row = store.newest_price(connection, stored_experiment(connection, key).id)
    return None if row is None else answer_of(key, row)


def run_waiting(engine: Engine, settings: Settings) -> int:
    """Compute every evaluation that waits or whose worker died; returns the number of evaluations that it finished."""
    with transaction(engine) as connection:
        waiting = store.unfinished(connection)
    return sum(_run(engine, settings, evaluation_id) for evaluation_id in waiting)


def _run(engine: Engine, settings: Settings, evaluation_id: int) -> bool:
    with transaction(engine) as connection:  # holds the lock while we compute; the lock ends with the process
        if not store.hold(connection, evaluation_id):
            return False
        row = store.waiting(connection, evaluation_id)
        if row is None:  # done by another worker, or removed
            return False

        def progress(share: float) -> None:
            with transaction(engine) as other:  # so that readers see it while the outer transaction is open
                store.advance(other, evaluation_id, share)

        result, error, found = None, None, list[CandidateSpec]()
        try:
            result, found = _compute(connection, settings, row, progress)
        except (DataError, LoopwiseError) as failure:
            error = str(failure)
            log.warning("evaluation_failed", evaluation=evaluation_id, error=failure)
        except Exception:  # an unfinished evaluation would fail again at every wake-up
            error = "This is a fault of Loopwise; the worker's log says more."
            log.exception("evaluation_failed", evaluation=evaluation_id)
        with transaction(engine) as other:  # before the lock ends, or another worker would start it again
            for spec in found:
                candidate_policies.put(other, row.experiment_id, spec, row.actor)
            store.finish(other, evaluation_id, result.as_json() if result else None, error)
    return True


def _compute(
    connection: Connection, settings: Settings, row: store.Evaluation, progress: Callable[[float], None]
) -> tuple[EvaluationResult, list[CandidateSpec]]:
    """Return the result, and the candidates that a search found and that are to be stored."""
    request = EvaluationRequest.model_validate(row.request)
    experiment = experiments.by_id(connection, row.experiment_id)
    config = ExperimentConfig.model_validate(experiment.config)
    policies = Policies(connection, settings, experiment, config)
    progress(0.01)
    settled_until = platform.now(connection)
    rows = list(log_of(connection, experiment.id, request, settled_until))
    if len(rows) < MIN_ROWS:
        raise DataError(
            f"the log has {len(rows)} settled decisions{_stretch(request)}",
            fix=f"an evaluation needs at least {MIN_ROWS}; wait",
        )
    table = build(rows, policies.configs, policies.version)
    specs = [CandidateSpec.model_validate(spec) for spec in candidates_store.of_experiment(connection, experiment.id)]
    if request.candidates is not None:
        specs = [spec for spec in specs if spec.key in request.candidates]
    board, found, begun = list[TunedLine](), list[CandidateSpec](), 0.0
    if request.tune is not None:
        early, begun = table.split(request.train_share)[0], TUNING
        board, found = search(early, config, request.tune, row.id, lambda share: progress(begun * share))
        specs = found

    def rest(share: float) -> None:
        progress(begun + (1.0 - begun) * share)

    result = evaluate(table, policies, specs, request, rest, settled_until.isoformat())
    return result.model_copy(update={"leaderboard": board}), found


def log_of(
    connection: Connection, experiment_id: int, request: EvaluationRequest, settled_until: datetime
) -> Iterator[store.LoggedRow]:
    """The log that an evaluation reads, as it was settled at a time."""
    if request.held_out == "without":
        store.leave_out_held(connection)
    most, since, until = request.max_decisions, request.since, request.until
    return store.log_rows(connection, experiment_id, most, since, until, settled_until)


def _stretch(request: EvaluationRequest) -> str:
    """Which stretch of the log an evaluation is about, in words; empty for the whole log."""
    since = "" if request.since is None else f" from {iso(request.since)}"
    return since + ("" if request.until is None else f" before {iso(request.until)}")


def answer_of(key: str, row: store.Evaluation) -> EvaluationAnswer:
    """Make the document of a stored evaluation."""
    return EvaluationAnswer.model_validate(
        {
            "id": row.id,
            "experiment": key,
            "status": row.status,
            "progress": row.progress,
            "request": row.request,
            "result": row.result,
            "error": row.error,
            "created_at": iso(row.created_at),
            "finished_at": row.finished_at and iso(row.finished_at),
        }
    )
