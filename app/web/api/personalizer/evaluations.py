"""Offline evaluations of that service, which are ours: the value that policies would have had, on the log.

v1.1 makes them by POST, and answers with lists and ``policyResults``; the newer API makes them by PUT under the caller's own
id, and answers with pages and ``content``. A call of the newer one carries ``api-version``.
"""

import re
from datetime import UTC, datetime
from typing import Final

from flask import Response, request
from pydantic import BaseModel, Field, JsonValue, RootModel

from app.accounts.api.auth import caller, needs
from app.foundation.api.respond import as_json
from app.foundation.errors import FieldError, Unprocessable
from app.foundation.fields import JsonObject, invalid, read, repeated
from app.foundation.formats.intervals import IntervalDocument
from app.foundation.serving import process
from app.off_policy import candidate_policies, evaluations
from app.off_policy.documents import EvaluationAnswer, PolicyLine
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.web.api.personalizer.configuration import PolicyContract
from app.web.api.personalizer.learning_settings import as_policy
from app.web.api.personalizer.shapes import EventId, Theirs, blueprint, bound_experiment, not_here

MOST_POLICIES: Final = 50
NEWER: Final = "api-version"
_PREFIX: Final = "personalizer-"  # begins the keys of candidates that came this way
_SOURCES: Final = {"running": "Online", "control": "Baseline", "uniform": "Random"}
_STATUS: Final = {"queued": "pending", "running": "pending", "done": "completed", "failed": "failed"}
_NEWER_STATUS: Final = {"queued": "NotSubmitted", "running": "Running", "done": "Succeeded", "failed": "Failed"}


class EvaluationContract(Theirs):
    name: str = Field(min_length=1, max_length=256)
    startTime: datetime
    endTime: datetime
    policies: list[PolicyContract] = Field(default_factory=list, max_length=MOST_POLICIES)
    enableOfflineExperimentation: bool = False
    enablePolicyOptimization: bool = Field(default=False, description="The newer API's name for the same.")


class Evaluation(BaseModel):
    id: str
    name: str
    startTime: str | None
    endTime: str | None
    status: str
    evaluationType: str
    creationTime: str
    jobId: str | None = None
    policyResults: list[JsonValue] | None = None
    content: JsonValue = None
    description: str | None = None
    optimalPolicy: str | None = Field(default=None, description="The candidate that may be staged; not there: none.")


class EvaluationPage(BaseModel):
    value: list[Evaluation]


class Evaluations(RootModel[list[Evaluation] | EvaluationPage]):
    """A list; to a call of the newer API, a page."""


class EvaluationPath(BaseModel):
    evaluation_id: EventId


@blueprint.get("/evaluations", responses={200: Evaluations})
@needs("read")
def list_evaluations() -> Response:
    """The evaluations of the experiment, newest first."""
    found = [_shown(item) for item in evaluations.newest(process().engine, bound_experiment().key)]
    return as_json({"value": found} if NEWER in request.args else found)


@blueprint.post("/evaluations", responses={201: Evaluation})
@needs("manage")
def create_evaluation(body: EvaluationContract) -> Response:
    """Queue an evaluation; its policies are stored as candidates."""
    made = _ask(body, None)
    response = as_json(_shown(made), 201)
    response.headers["Location"] = f"{request.base_url.rstrip('/')}/{made.id}"
    return response


@blueprint.put("/evaluations/<path:evaluation_id>", responses={200: Evaluation})
@needs("manage")
def put_evaluation(path: EvaluationPath, body: EvaluationContract) -> Response:
    """Queue an evaluation under the caller's own id."""
    return as_json(_shown(_ask(body, path.evaluation_id)))


@blueprint.get("/evaluations/<path:evaluation_id>", responses={200: Evaluation})
@needs("read")
def get_evaluation(path: EvaluationPath) -> Response:
    """One evaluation, with the value of each policy once it is done."""
    return as_json(_shown(evaluations.get_own(process().engine, bound_experiment().key, path.evaluation_id)))


@blueprint.delete("/evaluations/<path:evaluation_id>", responses={204: None})
@needs("manage")
def delete_evaluation(path: EvaluationPath) -> Response:
    """Remove an evaluation."""
    evaluations.remove(process().engine, bound_experiment().key, path.evaluation_id, caller().key_id)
    return Response(status=204)


@blueprint.get("/featureImportances", responses={204: None})
@needs("read")
def feature_importances() -> Response:
    """Not here: that service's importances came from a model of its own."""
    raise _no_importances()


@blueprint.get("/featureImportances/<path:evaluation_id>", responses={204: None})
@needs("read")
def feature_importance(path: EvaluationPath) -> Response:  # noqa: ARG001
    """Not here."""
    raise _no_importances()


@blueprint.put("/featureImportances/<path:evaluation_id>", responses={204: None})
@needs("manage")
def put_feature_importance(path: EvaluationPath) -> Response:  # noqa: ARG001
    """Not here."""
    raise _no_importances()


@blueprint.delete("/featureImportances/<path:evaluation_id>", responses={204: None})
@needs("manage")
def delete_feature_importance(path: EvaluationPath) -> Response:  # noqa: ARG001
    """Not here."""
    raise _no_importances()


def _no_importances() -> Unprocessable:
    return not_here(
        "Loopwise computes no feature importances. GET /v1/experiments/KEY/what-works-for-whom says for whom an arm does "
        "better, with intervals; a candidate with features_off says what a feature is worth."
    )


def _ask(body: EvaluationContract, own_id: str | None) -> EvaluationAnswer:
    key, engine = bound_experiment().key, process().engine
    specs = [_candidate(index, contract) for index, contract in enumerate(body.policies)]
    for index, first in repeated(spec.key for spec in specs):
        raise invalid((FieldError(f"/policies/{index}/name", "policy_name_repeated", {"first": f"/policies/{first}"}),))
    names: list[JsonValue] = [spec.key for spec in specs]
    wide = body.enableOfflineExperimentation or body.enablePolicyOptimization
    asked: JsonObject = {
        "name": body.name,
        "own_id": own_id,
        "candidates": None if wide else names,  # every stored candidate is tried, these among them
        "since": _utc(body.startTime),
        "until": _utc(body.endTime),
    }
    wanted = read(EvaluationRequest, asked)
    for spec in specs:
        candidate_policies.add(engine, key, spec, caller().key_id)
    return evaluations.ask(engine, key, wanted, caller().key_id)


def _candidate(index: int, contract: PolicyContract) -> CandidateSpec:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", contract.name)[:80].strip("-") or str(index + 1)
    return CandidateSpec(key=f"{_PREFIX}{name}", policy=as_policy(contract.arguments))


def _utc(moment: datetime) -> str:
    """A time without a zone is UTC, as it was there."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _shown(answer: EvaluationAnswer) -> JsonObject:
    newer, asked, result = NEWER in request.args, answer.request, answer.result
    since = None if asked.since is None else asked.since.isoformat()
    until = None if asked.until is None else asked.until.isoformat()
    shown: JsonObject = {
        "id": asked.own_id or str(answer.id),
        "name": asked.name or str(answer.id),
        "startTime": since,
        "endTime": until,
        "status": (_NEWER_STATUS if newer else _STATUS)[answer.status],
        "evaluationType": "Manual",
        "creationTime": answer.created_at,
    }
    shown |= {} if newer else {"jobId": str(answer.id)}
    shown |= {"description": answer.error} if answer.error else {}
    if result is None:
        return shown
    best = next((line.name for line in result.search.candidates if line.promoted), None)
    shown |= {} if best is None else {"optimalPolicy": _name(best)}
    lines = result.policies
    if newer:
        values: list[JsonValue] = [_newer_result(line) for line in lines]
        return shown | {"content": {"startTime": since, "endTime": until, "value": values}}
    return shown | {"policyResults": [_result(line, result.window.last) for line in lines]}


def _name(policy: str) -> str:
    return policy.removeprefix(_PREFIX)


def _source(policy: str) -> str:
    return _SOURCES.get(policy.partition(":")[0], "Custom")


def _result(line: PolicyLine, last: str) -> JsonObject:
    """A policy's counterfactual value. Estimators' parts of single stretches are not kept, so there is the whole only."""
    interval = _width(line.interval)
    total: JsonObject = {
        "timeStamp": last,
        "aggregateTimeWindow": "P0D",
        "averageReward": line.value,
        "confidenceInterval": interval,
    }
    return _named(line) | {"summary": [], "totalSummary": total}


def _newer_result(line: PolicyLine) -> JsonObject:
    ends = line.interval
    interval = [] if ends is None or ends.low is None or ends.high is None else [ends.low, ends.high]
    summary: JsonObject = {"expectedReward": line.value, "confidenceInterval": interval}
    points: list[JsonValue] = []
    return _named(line) | {"summary": summary, "timeseries": {"data": points}}


def _named(line: PolicyLine) -> JsonObject:
    """A policy, and the reasons why its value is missing or not to be trusted."""
    named = {"name": _name(line.policy), "arguments": line.text, "policySource": _source(line.policy)}
    return named | ({"reason": " ".join(line.reasons)} if line.reasons else {})


def _width(interval: IntervalDocument | None) -> float | None:
    """Half of an interval, which is how that service wrote it; null: an end is missing."""
    if interval is None or interval.low is None or interval.high is None:
        return None
    return (interval.high - interval.low) / 2
