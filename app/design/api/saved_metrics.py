"""The routes of the library of metrics; they join those of experiments about the whole platform."""

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel

from app.accounts.api.auth import caller, needs
from app.accounts.keys import check_unbound
from app.design.library import saved_metrics
from app.design.library.saved_metrics import SavedMetric, SavedMetrics
from app.design.metric_config import MetricSpec
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.errors import FieldError
from app.foundation.fields import Key, invalid
from app.foundation.serving import process

blueprint = APIBlueprint(
    "saved_metrics",
    __name__,
    url_prefix="/v1/saved-metrics",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="saved metrics", description="Definitions of metrics that experiments share.")],
    abp_responses=PROBLEMS,
)


class MetricPath(BaseModel):
    """Names a metric of the library."""

    key: Key


class RemovedMetric(BaseModel):
    """The answer to a removal."""

    key: str
    deleted: bool


@blueprint.get("", responses={200: SavedMetrics})
@needs("read")
def read_saved_metrics() -> Response:
    """Every metric of the library, with the experiments that have one with its key."""
    check_unbound(caller())
    return as_json(SavedMetrics(metrics=saved_metrics.listed(process().engine)).as_json())


@blueprint.put("/<key>", responses={200: SavedMetric})
@needs("manage")
def save_metric(path: MetricPath, body: MetricSpec) -> Response:
    """Save a metric under its key. Experiments that have it do not change."""
    check_unbound(caller())
    if body.key != path.key:
        raise invalid((FieldError("/key", "key_of_path", {"key": path.key}),))
    return as_json(saved_metrics.keep(process().engine, body, caller().key_id).as_json())


@blueprint.delete("/<key>", responses={200: RemovedMetric})
@needs("manage")
def remove_metric(path: MetricPath) -> Response:
    """Take a metric out of the library. Experiments that have it keep it."""
    check_unbound(caller())
    saved_metrics.remove(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})
