"""What analysts call: results, health checks, off-policy evaluations, planning."""

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.design.api.experiments import KeyPath, bound_key
from app.design.life import approvals
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.fields import Model
from app.foundation.serving import process
from app.off_policy import candidate_policies, evaluations
from app.off_policy.caps import cap_evaluation
from app.off_policy.caps.cap_evaluation import CapQuestion
from app.off_policy.documents import (
    CandidateListAnswer,
    CapAnswer,
    EvaluationAnswer,
    EvaluationListAnswer,
    StagingAnswer,
)
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest, TuneRequest
from app.off_policy.life import staging
from app.reporting import exclusions, feedback_report, frozen, health_checks, long_term, power, privacy, results
from app.reporting.documents.feedback import FeedbackReport
from app.reporting.documents.health import Health
from app.reporting.documents.long_term import LongTerm
from app.reporting.documents.planning import PlanAnswer
from app.reporting.documents.private import PrivateReport, PrivateReports
from app.reporting.documents.results import HeldOut, Results
from app.reporting.documents.slots import SlotsReport
from app.reporting.documents.whom import WhomReport
from app.reporting.exclusions import ExcludedUnits, UnitsToExclude, UnitsToInclude
from app.reporting.planning_request import PowerRequest
from app.reporting.slots import report as slots
from app.reporting.whom import report as whom
from app.verification import scorecards
from app.verification.scorecards import Scorecards

blueprint = APIBlueprint(
    "analysts",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="analysts", description="Reports, evaluations, planning.")],
    abp_responses=PROBLEMS,
)


class ResultsQuery(BaseModel):
    method: str = Field(default="sequential", description="Which interval leads: sequential, fixed or bayes.")
    segment: str | None = Field(default=None, description="A declared context field to split by.")
    max_age_s: float | None = Field(default=None, ge=0, description="Compute them anew when they are older.")
    held_out: HeldOut = Field(
        default="with", description="Whether decisions count that are held out of rounds for suspects: with or without."
    )
    live: bool = Field(default=False, description="True: the newest results, also after an arm was shipped.")


class SegmentQuery(BaseModel):
    segment: str | None = Field(default=None, description="A declared context field.")


class ArmQuery(BaseModel):
    arm: str | None = Field(default=None, description="A learning arm; without it all of them.")


class CandidatePath(BaseModel):
    key: str
    candidate: str


class Stage(Model):
    """How many units the new arm gets."""

    share: float = Field(
        ge=0, lt=1, description="0: in shadow. It is scored on what others decide, and decides nothing."
    )


class PrivateReportRequest(Model):
    """Ask for a report with differential privacy."""

    epsilon: float = Field(
        ge=privacy.LEAST_EPSILON,
        le=privacy.MOST_EPSILON,
        description="What it may cost: smaller is more private and noisier.",
    )


class EvaluationPath(BaseModel):
    key: str
    evaluation_id: int


@blueprint.get("/experiments/<key>/results", responses={200: Results})
@needs("read")
def read_results(path: KeyPath, query: ResultsQuery) -> Response:
    """Each arm against the control on each metric, and what the decision rule says.

    While an arm is shipped these are the results at which it was shipped, unless `live` asks for the newest.
    """
    key = bound_key(path.key)
    asked = query.model_dump(include={"method", "segment"})
    kept = None if query.live or query.held_out == "without" else frozen.get(process().engine, key, **asked)
    if kept is not None:
        return as_json(kept)
    asked |= {"max_age_s": query.max_age_s, "held_out": query.held_out}
    return as_json(results.get(process().engine, key, **asked))


@blueprint.get("/experiments/<key>/long-term", responses={200: LongTerm})
@needs("read")
def read_long_term(path: KeyPath) -> Response:
    """Whether units come back and go on earning, step by step, and whether the early reward tells it."""
    return as_json(long_term.served(process().engine, bound_key(path.key)))


@blueprint.get("/experiments/<key>/what-works-for-whom", responses={200: WhomReport})
@needs("read")
def read_what_works_for_whom(path: KeyPath) -> Response:
    """By context field, what is chosen and what it earns; which features matter; the segments where arms differ most."""
    return as_json(whom.get(process().engine, process().settings, bound_key(path.key)))


@blueprint.get("/experiments/<key>/slots", responses={200: SlotsReport})
@needs("read")
def read_slots(path: KeyPath) -> Response:
    """What each position of lists earned, and what each part of a composed message is worth."""
    return as_json(slots.get(process().engine, process().settings, bound_key(path.key)))


@blueprint.get("/experiments/<key>/excluded-units", responses={200: ExcludedUnits})
@needs("read")
def read_excluded_units(path: KeyPath) -> Response:
    """The units that reports leave out, by name or by the experiment's rule."""
    return as_json(exclusions.listed(process().engine, bound_key(path.key)))


@blueprint.post("/experiments/<key>/excluded-units", responses={200: ExcludedUnits})
@needs("manage")
def exclude_units(path: KeyPath, body: UnitsToExclude) -> Response:
    """Leave units out of every report of the experiment; what was learned from them stays."""
    key, actor = bound_key(path.key), caller().key_id
    return as_json(exclusions.exclude(process().engine, key, body.unit_ids, body.reason, actor))


@blueprint.post("/experiments/<key>/included-units", responses={200: ExcludedUnits})
@needs("manage")
def include_units(path: KeyPath, body: UnitsToInclude) -> Response:
    """Count units again that reports left out."""
    key, actor = bound_key(path.key), caller().key_id
    return as_json(exclusions.include(process().engine, key, body.unit_ids, actor))


@blueprint.get("/experiments/<key>/health-checks", responses={200: Health})
@needs("read")
def read_health(path: KeyPath, query: SegmentQuery) -> Response:
    """Units against shares, choices against propensities, missing rewards, models."""
    return as_json(health_checks.get(process().engine, bound_key(path.key), segment=query.segment))


@blueprint.get("/experiments/<key>/feedback", responses={200: FeedbackReport})
@needs("read")
def read_feedback(path: KeyPath) -> Response:
    """What people say against what they do: counts, answer rates, agreement, and who answers."""
    return as_json(feedback_report.get(process().engine, bound_key(path.key)))


@blueprint.get("/experiments/<key>/policy/scorecards", responses={200: Scorecards})
@needs("read")
def read_scorecards(path: KeyPath, query: ArmQuery) -> Response:
    """How each model version did while it served: progressive reward, loss, share explored."""
    return as_json(scorecards.get(process().engine, bound_key(path.key), query.arm))


@blueprint.get("/experiments/<key>/candidates", responses={200: CandidateListAnswer})
@needs("read")
def candidates(path: KeyPath) -> Response:
    """The stored candidate policies."""
    return as_json(CandidateListAnswer(candidates=candidate_policies.listed(process().engine, bound_key(path.key))))


@blueprint.post("/experiments/<key>/candidates", responses={201: CandidateSpec})
@needs("manage")
def add_candidate(path: KeyPath, body: CandidateSpec) -> Response:
    """Store a candidate policy, to be evaluated on the log; it decides nothing."""
    stored = candidate_policies.add(process().engine, bound_key(path.key), body, caller().key_id)
    return as_json(stored.model_dump(mode="json"), 201)


@blueprint.post("/experiments/<key>/candidates/<candidate>/stage", responses={200: StagingAnswer, 202: StagingAnswer})
@needs("manage")
def stage(path: CandidatePath, body: Stage) -> Response:
    """Make a candidate a new arm with the model that was valued. 202: it learns; the worker attaches its model soon."""
    at = process()
    key = bound_key(path.key)
    if body.share > 0:
        approvals.refuse_alone(at.settings)
    staged = staging.stage(at.engine, at.settings, key, path.candidate, body.share, caller().key_id)
    at.refresh()
    return as_json(staged, 202 if staged.status == "waiting" else 200)


@blueprint.get("/experiments/<key>/candidates/<candidate>/stage", responses={200: StagingAnswer})
@needs("read")
def staging_of(path: CandidatePath) -> Response:
    """Where a candidate stands on its way to an arm."""
    return as_json(staging.get(process().engine, bound_key(path.key), path.candidate))


@blueprint.post("/experiments/<key>/evaluations", responses={202: EvaluationAnswer})
@needs("manage")
def evaluate(path: KeyPath, body: EvaluationRequest) -> Response:
    """Ask for an off-policy evaluation; the worker computes it, and its answer is at `GET .../evaluations/{id}`."""
    return as_json(evaluations.ask(process().engine, bound_key(path.key), body, caller().key_id), 202)


@blueprint.post("/experiments/<key>/policy/search", responses={202: EvaluationAnswer})
@needs("manage")
def search_policy(path: KeyPath, body: TuneRequest) -> Response:
    """Search many policies for a better one; the worker does it, and its answer is at `GET .../evaluations/{id}`."""
    return as_json(evaluations.tune(process().engine, bound_key(path.key), body, caller().key_id), 202)


@blueprint.get("/experiments/<key>/evaluations", responses={200: EvaluationListAnswer})
@needs("read")
def list_evaluations(path: KeyPath) -> Response:
    """The experiment's evaluations, newest first."""
    return as_json(EvaluationListAnswer(evaluations=evaluations.newest(process().engine, bound_key(path.key))))


@blueprint.get("/experiments/<key>/evaluations/<int:evaluation_id>", responses={200: EvaluationAnswer})
@needs("read")
def read_evaluation(path: EvaluationPath) -> Response:
    """One evaluation: its progress, then its table."""
    return as_json(evaluations.get(process().engine, bound_key(path.key), path.evaluation_id))


@blueprint.post("/experiments/<key>/cap-evaluations", responses={200: CapAnswer})
@needs("read")
def evaluate_cap(path: KeyPath, body: CapQuestion) -> Response:
    """What a tighter cap on messages would have been worth per unit, asked of the log."""
    return as_json(cap_evaluation.evaluate(process().engine, bound_key(path.key), body))


@blueprint.post("/experiments/<key>/private-reports", responses={201: PrivateReport})
@needs("manage")
def give_private_report(path: KeyPath, body: PrivateReportRequest) -> Response:
    """A report for a wider audience: units and mean reward of each arm, with differential privacy; spends the budget."""
    at = process()
    return as_json(privacy.give(at.engine, at.settings, bound_key(path.key), body.epsilon, caller().key_id), 201)


@blueprint.get("/experiments/<key>/private-reports", responses={200: PrivateReports})
@needs("read")
def private_reports(path: KeyPath) -> Response:
    """The private reports of an experiment so far, and what is left of its budget."""
    at = process()
    return as_json(privacy.given(at.engine, at.settings, bound_key(path.key)))


@blueprint.post("/power", responses={200: PlanAnswer})
@needs("read")
def plan(body: PowerRequest) -> Response:
    """How many units, how long, or which effect: for a metric, or by simulation for a bandit's arms."""
    return as_json(power.plan(process().engine, body))
