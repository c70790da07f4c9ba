"""What the routes of Azure Personalizer have in common: the blueprint, the errors, the actions and the context."""

from typing import Annotated, Any, Final

from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from app.accounts.api.auth import caller
from app.accounts.keys import Caller
from app.design import experiments
from app.design.experiment_config import MAX_ACTIONS, ActionSpec, Features
from app.foundation.api.problem_schema import PROBLEM_STATUSES
from app.foundation.errors import Forbidden, Unprocessable
from app.foundation.fields import JsonObject
from app.foundation.serving import process
from app.registry.store.experiments import StoredExperiment

ALSO: Final = "also"  # where features stand that another object of the same call had under the same name


class PersonalizerErrorBody(BaseModel):
    code: str
    message: str
    target: str | None = Field(default=None, description="Loopwise's own code; see /docs/errors.")


class PersonalizerError(BaseModel):
    """That service's error body."""

    error: PersonalizerErrorBody


blueprint = APIBlueprint(
    "personalizer",
    __name__,
    url_prefix="/personalizer/v1.0",
    abp_security=[{"subscription": []}],
    abp_tags=[Tag(name="personalizer", description="For clients of Azure Personalizer, unchanged.")],
    abp_responses=dict.fromkeys(list[Any](PROBLEM_STATUSES), PersonalizerError),
)

EventId = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Theirs(BaseModel):
    """The service's own field names; fields that it does not know are ignored, as that service did."""

    model_config = ConfigDict(extra="ignore")


class RankableAction(Theirs):
    id: EventId
    features: Features = Field(default_factory=list)


Actions = Annotated[list[RankableAction], Field(min_length=1, max_length=MAX_ACTIONS)]


class EventPath(BaseModel):
    event_id: EventId


def specs_of(actions: list[RankableAction]) -> list[ActionSpec]:
    """A call's actions as a decision takes them."""
    return [ActionSpec(id=action.id, features=action.features) for action in actions]


def context_of(features: list[JsonValue]) -> JsonObject:
    """The context of a call: the fields of all its objects, at the top, where declarations, segments and reports look.

    Objects under the same name are joined. Another value of a name that is taken stands under ``also``.
    """
    context: JsonObject = {}
    rest: list[JsonValue] = []
    for part in features:
        left = _join(context, part) if isinstance(part, dict) else part
        if left:
            rest.append(left)
    return context | ({ALSO: [*_listed(context.get(ALSO)), *rest]} if rest else {})


def _listed(value: JsonValue) -> list[JsonValue]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _join(context: JsonObject, part: JsonObject) -> JsonObject:
    """Add the fields of a part; returns those whose name has another value."""
    left: JsonObject = {}
    for name, value in part.items():
        there = context.get(name)
        if name not in context:
            context[name] = dict(value) if isinstance(value, dict) else value
        elif isinstance(there, dict) and isinstance(value, dict):
            more = _join(there, value)
            left |= {name: more} if more else {}
        elif there != value:
            left[name] = value
    return left


def bound_id(caller: Caller) -> int:
    """The experiment of a key, which stands for one resource of that service.

    :raises Forbidden: the key is bound to none.
    """
    if caller.experiment_id is None:
        raise Forbidden(
            "key_not_bound",
            "These routes need a key that is bound to an experiment: `loopwise keys create --experiment KEY`.",
        )
    return caller.experiment_id


def bound_experiment() -> StoredExperiment:
    """The experiment of the present request's key, as it is stored."""
    engine = process().engine
    return experiments.get(engine, experiments.key_of(engine, bound_id(caller())))


def not_here(what: str) -> Unprocessable:
    """The error for what that service had and Loopwise has not.

    :param what: a sentence that says so, and one that says what to do.
    """
    return Unprocessable("not_in_loopwise", what)
