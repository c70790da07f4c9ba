"""Models and logs of that service. Loopwise gives no model files away and takes none; its log is evidence, and stays."""

from datetime import datetime
from typing import Annotated

from flask import Response
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.foundation.api.respond import as_json
from app.foundation.errors import NotFound, Unprocessable
from app.foundation.fields import JsonObject
from app.foundation.serving import process
from app.registry import versions
from app.reporting import activity
from app.web.api.personalizer.shapes import blueprint, bound_experiment, not_here


class ModelProperties(BaseModel):
    creationTime: str = Field(description="Of the first model.")
    lastModifiedTime: str = Field(description="Of the model that decides now.")


class DateRange(BaseModel):
    first: Annotated[str, Field(alias="from")]
    to: str


class LogProperties(BaseModel):
    dateRange: DateRange


@blueprint.get("/model", responses={200: None})
@needs("read")
def export_model() -> Response:
    """Not here."""
    raise not_here(
        "Loopwise gives no model file away: models are signed by this installation, and read by nobody else. "
        "GET /v1/experiments/KEY/policy lists the versions with their SHA-256; `loopwise export` writes the whole log."
    )


@blueprint.put("/model", responses={204: None})
@needs("manage")
def import_model() -> Response:
    """Not here."""
    raise not_here(
        "Loopwise takes no model file: a file from outside can write files where it is loaded. Import the log that the model "
        "has learned from (`loopwise import`), and the arm learns from it."
    )


@blueprint.delete("/model", responses={204: None})
@needs("manage")
def reset_model() -> Response:
    """Put the untrained model of every learning arm into service again; every version and the log stay."""
    at, key = process(), bound_experiment().key
    for arm in _arms():
        number = arm["versions"][0]["number"]
        versions.rollback(at.engine, key, arm["arm"], number, "reset by a client of Personalizer", caller().key_id)
    at.refresh()
    return Response(status=204)


@blueprint.get("/model/properties", responses={200: ModelProperties})
@needs("read")
def model_properties() -> Response:
    """When the first model was made, and the one that decides now."""
    first = [arm["versions"][0]["created_at"] for arm in _arms()]
    serving = [version["created_at"] for arm in _arms() for version in arm["versions"] if version["serving"]]
    return as_json({"creationTime": min(first), "lastModifiedTime": max(serving)})


@blueprint.get("/logs/properties", responses={200: LogProperties})
@needs("read")
def log_properties() -> Response:
    """When the first and the last decision were made."""
    first, last = _span()
    return as_json({"dateRange": {"from": first.isoformat(), "to": last.isoformat()}})


@blueprint.delete("/logs", responses={204: None})
@needs("manage")
def delete_logs() -> Response:
    """Not here."""
    raise not_here(
        "The log is the evidence of every report, and is not deleted at once. logRetentionDays makes rows forget their unit "
        "after a time; POST /v1/erasure forgets one unit everywhere."
    )


@blueprint.post("/logs/interactions", responses={204: None})
@needs("decide")
def log_interactions() -> Response:
    """Not here: these lines came from a model in the app's own process."""
    raise _no_lines()


@blueprint.post("/logs/observations", responses={204: None})
@needs("decide")
def log_observations() -> Response:
    """Not here."""
    raise _no_lines()


def _no_lines() -> Unprocessable:
    return not_here(
        "Loopwise decides itself, and takes no lines of an inference in the app's own process. Call rank; "
        "a log that exists is taken by `loopwise import`."
    )


def _arms() -> list[JsonObject]:
    """The learning arms with their versions, the oldest first.

    :raises NotFound: no arm learns.
    """
    arms: list[JsonObject] = versions.describe(process().engine, bound_experiment().key)["arms"]
    if not arms:
        raise NotFound("unknown_version", "No arm of this experiment learns, so there is no model.")
    return arms


def _span() -> tuple[datetime, datetime]:
    """:raises NotFound: nothing was decided yet."""
    span = activity.span(process().engine, bound_experiment().key)
    if span is None:
        raise NotFound("unknown_decision", "Nothing was decided yet, so there is no log.")
    return span
