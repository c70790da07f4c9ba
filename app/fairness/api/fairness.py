"""The route of the report *Fairness and diversity*."""

from flask import Response
from flask_openapi import APIBlueprint, Tag

from app.accounts.api.auth import needs
from app.design.api.experiments import KeyPath, bound_key
from app.fairness import report
from app.fairness.documents import FairnessReport
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.serving import process

blueprint = APIBlueprint(
    "fairness",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="fairness", description="Exposure, gaps between groups, filter bubbles.")],
    abp_responses=PROBLEMS,
)


@blueprint.get("/experiments/<key>/fairness", responses={200: FairnessReport})
@needs("read")
def read_fairness(path: KeyPath) -> Response:
    """How exposure spreads, gaps between groups of people beyond the world's own, and how people's range narrows."""
    return as_json(report.get(process().engine, process().settings, bound_key(path.key)))
