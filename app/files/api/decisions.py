"""The route that reads decisions."""

from typing import Annotated
from urllib.parse import urlencode

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, BeforeValidator, Field

from app.accounts.api.auth import needs
from app.design.api.experiments import bound_key
from app.files import decisions
from app.files.decisions import KINDS, Format
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.fields import Id, JsonObject, Time
from app.foundation.serving import process

blueprint = APIBlueprint(
    "files",
    __name__,
    url_prefix="/v1/decisions",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="decisions", description="The log, for other programs.")],
    abp_responses=PROBLEMS,
)


def _with_plus(value: object) -> object:
    """In an address, a plus that is not escaped arrives as a space."""
    return value.replace(" ", "+") if isinstance(value, str) and "T" in value else value


QueryTime = Annotated[Time, BeforeValidator(_with_plus)]


class DecisionsQuery(BaseModel):
    experiment: str = Field(description="Its key.")
    unit_id: Id | None = Field(default=None, description="Only decisions for this unit.")
    since: QueryTime | None = Field(default=None, description="Only decisions from this time on.")
    until: QueryTime | None = Field(default=None, description="Only decisions before this time.")
    after: str | None = Field(default=None, max_length=4000, description="The `next` of the page before.")
    limit: int = Field(default=100, ge=1, le=1000)
    format: Format = Field(default="json", description="json, jsonl (JSON Lines) or arrow (an Arrow IPC stream).")


class LoggedDecisionAnswer(BaseModel):
    experiment: str
    decision_id: str
    decided_at: str
    unit_id: str
    arm: str
    arm_probability: float | None = Field(description="The arm's share when the unit was assigned.")
    policy_version: int
    config_version: int
    context: JsonObject | list[JsonObject]
    eligible: list[str] = Field(description="Ids of the actions, in the order of the distribution.")
    distribution: list[float | None] = Field(description="The arm's; null: an imported log does not hold it.")
    action: str
    propensity: float = Field(description="The arm's probability of the action.")
    reward: float | None = Field(description="null: it is not settled yet.")
    reward_events: int | None
    state: str = Field(description="active, deferred, unanswered or imported; trials are left out.")


class DecisionListAnswer(BaseModel):
    decisions: list[LoggedDecisionAnswer]
    next: str | None = Field(description="The cursor of the next page; null: this is the last.")


@blueprint.get("", responses={200: DecisionListAnswer})
@needs("read")
def newest(query: DecisionsQuery) -> Response:
    """List the decisions of an experiment with their rewards, newest first.

    The header `Link` names the next page, too (`rel="next"`), for the formats that have no place for it.
    """
    found = decisions.page(
        process().engine,
        bound_key(query.experiment),
        unit_id=query.unit_id,
        since=query.since,
        until=query.until,
        after=query.after,
        limit=query.limit,
    )
    answer = Response(decisions.written(found, query.format), 200, content_type=KINDS[query.format])
    if found.next is not None:
        kept = {name: value for name, value in request.args.items() if name != "after"}
        answer.headers["Link"] = f'<{request.path}?{urlencode(kept | {"after": found.next})}>; rel="next"'
    return answer
