"""The OpenFeature Remote Evaluation Protocol: a flag is an experiment, its variant the chosen action, its value the payload.

Each evaluation of one flag is a decision. The evaluation of all flags at once makes decisions that wait for their activation,
because a client asks for flags that nobody may ever see. Source: OpenFeature's protocol, version 0.2 (its OpenAPI document).
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, Literal

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.accounts.api.auth import caller, needs
from app.accounts.api.hot import Answered, Asked, hot
from app.deciding import decide as decisions
from app.deciding.answer import Answer
from app.deciding.requests import DecideRequest, identify
from app.deciding.runtime import Runtime
from app.deciding.serving import runtime as serving_runtime
from app.deciding.serving import runtime_of
from app.deciding.snapshot import Experiment
from app.foundation.api.problem_schema import PROBLEM_STATUSES
from app.foundation.api.respond import as_json
from app.foundation.api.written import flag_error
from app.foundation.errors import FieldError, LoopwiseError, NotFound, Unavailable, Unprocessable
from app.foundation.fields import MAX_BATCH, JsonObject, invalid, read
from app.foundation.formats.same_json import canonical
from app.foundation.running.steps import Steps

POLL_EVERY_MS: Final = 30_000  # how often a client may ask whether flags have changed
TARGETING_KEY: Final = "targetingKey"


class FlagRequest(BaseModel):
    """The protocol's own field names; fields that it does not have are ignored."""

    model_config = ConfigDict(extra="ignore")
    context: dict[str, Any] = Field(
        default_factory=dict, description="`targetingKey` is the unit; everything else is the context."
    )


class FlagPath(BaseModel):
    key: str


class FlagMetadata(BaseModel):
    decisionId: str = Field(description="Report rewards for it.")
    arm: str
    propensity: float


class Flag(BaseModel):
    """One evaluated flag."""

    key: str
    reason: Literal["SPLIT"] = "SPLIT"
    variant: str = Field(description="The chosen action.")
    value: JsonValue = Field(description="Its payload; without one, the action's id.")
    metadata: FlagMetadata


class FlagError(BaseModel):
    """That protocol's error body."""

    key: str | None = None
    errorCode: str
    errorDetails: str
    code: str | None = Field(default=None, description="Loopwise's own code; see /docs/errors.")


class Flags(BaseModel):
    """All flags of a caller; one that cannot be evaluated has an error."""

    flags: list[Flag | FlagError]


class Configuration(BaseModel):
    """What a provider may rely on."""

    name: str
    capabilities: dict[str, Any]


blueprint = APIBlueprint(
    "ofrep",
    __name__,
    url_prefix="/ofrep/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="ofrep", description="For OpenFeature's providers, unchanged.")],
    abp_responses=dict.fromkeys(list[Any](PROBLEM_STATUSES), FlagError),
)


@hot(blueprint, "/evaluate/flags/<key>", "decide", browsers=True, responses={200: Flag})
def evaluate(asked: Asked, path: FlagPath, body: FlagRequest) -> Steps[Answered]:
    """Evaluate one flag: decide, and answer with the chosen action and its payload."""
    wanted = _request(path.key, body.context)
    asked.count_unit(wanted.unit_id)
    decided = yield from decisions.deciding(runtime_of(asked), asked.caller, [identify(wanted, {})])
    return Answered(_flag(path.key, decided[0].answer), 200, partial(decisions.disown, runtime_of(asked), decided))


@blueprint.post("/evaluate/flags", responses={200: Flags})
@needs("decide", browsers=True)
def evaluate_all(body: FlagRequest) -> Response:
    """Evaluate every running experiment that the key may use. The decisions count once they are activated.

    304: neither the context nor an experiment has changed since the ETag that the caller sent.
    """
    runtime = serving_runtime()
    if caller().publishable and isinstance(unit := body.context.get(TARGETING_KEY), str):
        runtime.rates.take_unit(unit, 1)
    running = list(_running(runtime))
    tag = _tag(running, body.context)
    if request.if_none_match.contains(tag):
        answer = Response(status=304)
    else:
        answer = as_json({"flags": [_evaluated(runtime, experiment, body.context) for experiment in running]})
    answer.set_etag(tag)
    return answer


@blueprint.get("/configuration", responses={200: Configuration})
@needs("decide", browsers=True)
def configuration() -> Response:
    """Tell a provider what it may rely on: it polls for changes."""
    polling = {"enabled": True, "minPollingIntervalMs": POLL_EVERY_MS}
    capabilities = {"cacheInvalidation": {"polling": polling}, "flagEvaluation": {"unsupportedTypes": []}}
    return as_json({"name": "Loopwise", "capabilities": capabilities})


def _running(runtime: Runtime) -> Iterator[Experiment]:
    """The experiments that the caller's key may use, that run, and that have actions of their own."""
    found = [
        experiment
        for experiment in runtime.snapshots.current.experiments.values()
        if experiment.status == "running" and caller().sees(experiment.id) and experiment.candidates.ids
    ]
    yield from sorted(found, key=lambda experiment: experiment.key)[:MAX_BATCH]


def _tag(running: list[Experiment], context: JsonObject) -> str:
    versions = [(experiment.key, experiment.config_version) for experiment in running]
    return hashlib.sha256(canonical([versions, context])).hexdigest()[:32]


def _evaluated(runtime: Runtime, experiment: Experiment, context: JsonObject) -> JsonObject:
    try:
        wanted = _request(experiment.key, context, deferred=True)
        decided = decisions.decide(runtime, caller(), [identify(wanted, {})])
    except Unavailable:
        raise  # of the whole answer
    except LoopwiseError as error:
        return flag_error(error, experiment.key)
    return _flag(experiment.key, decided[0].answer)


def _request(key: str, context: JsonObject, *, deferred: bool = False) -> DecideRequest:
    """A flag and its context as a request for a decision.

    :raises Unprocessable: the context names no unit, or cannot be used.
    :raises NotFound: no experiment can have such a key.
    """
    unit = context.get(TARGETING_KEY)
    if unit in (None, ""):
        raise Unprocessable("targeting_key_missing", "The context needs a targetingKey: whom the flag is for.")
    rest = {name: value for name, value in context.items() if name != TARGETING_KEY}
    try:
        return read(DecideRequest, {"experiment": key, "unit_id": unit, "context": rest, "defer_activation": deferred})
    except Unprocessable as error:
        if any(field.path == "/experiment" for field in error.fields):
            raise NotFound("unknown_experiment", f"There is no experiment {key!r}.") from None
        raise invalid(tuple(_named(field) for field in error.fields)) from None


def _named(field: FieldError) -> FieldError:
    path = field.path.replace("/unit_id", f"/context/{TARGETING_KEY}", 1)
    return FieldError(path, field.code, field.params)


def _flag(key: str, answer: Answer) -> JsonObject:
    action = answer["action"]
    value = action["id"] if action["payload"] is None else action["payload"]
    metadata = {"decisionId": answer["decision_id"], "arm": answer["arm"], "propensity": answer["propensity"]}
    return {"key": key, "reason": "SPLIT", "variant": action["id"], "value": value, "metadata": metadata}
