"""What concerns the people behind the units: consent, and what is stored of them."""

from typing import Any

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel

from app.api import answers
from app.api.auth import caller, needs
from app.api.respond import as_json
from app.services import consent, people
from app.services.requests import ConsentRequest
from app.serving import runtime

blueprint = APIBlueprint(
    "people",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="people", description="Consent and privacy.")],
    abp_responses=answers.PROBLEMS,
)


class UnitPath(BaseModel):
    unit_id: str


class ConsentAnswer(BaseModel):
    unit_id: str
    consent: dict[str, str | None]  # by purpose; null: nothing was said


class ConsentLedger(ConsentAnswer):
    ledger: list[dict[str, Any]]


@blueprint.post("/consent", responses={200: ConsentAnswer})
@needs("reward")
def record(body: ConsentRequest) -> Response:
    """A person granted, denied or revoked something. It holds from this answer on; saying it again changes nothing."""
    return as_json(consent.record(runtime().engine, caller(), body))


@blueprint.get("/consent/<path:unit_id>", responses={200: ConsentLedger})
@needs("people")
def look_up(path: UnitPath) -> Response:
    """What holds for a unit, and the ledger of how that came."""
    return as_json(people.consent_of(runtime().engine, caller(), path.unit_id))


@blueprint.get("/units/<path:unit_id>", responses={200: ConsentLedger})
@needs("people")
def export(path: UnitPath) -> Response:
    """Everything that is stored of a unit, for the person to have."""
    return as_json(people.export(runtime().engine, caller(), path.unit_id))
