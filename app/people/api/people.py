"""The routes about the people behind the units: consent, and the data that is stored about them."""

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts import unit_tokens
from app.accounts.api.auth import caller, needs
from app.accounts.api.browsers import check_unit
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.fields import Id, Model
from app.foundation.serving import process
from app.people import consent, erasure, people
from app.people.consent_request import ConsentRequest
from app.people.documents import ConsentAnswer, ConsentLedger, ErasureAnswer

blueprint = APIBlueprint(
    "people",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="people", description="Consent and privacy.")],
    abp_responses=PROBLEMS,
)


class TokenRequest(Model):
    """Ask for a proof that a page speaks for a unit."""

    unit_id: Id
    lifetime_s: float = Field(default=86_400, ge=1, le=unit_tokens.LONGEST_S, description="Seconds that it works.")


class TokenAnswer(BaseModel):
    unit_id: str
    unit_token: str


class ErasureRequest(Model):
    """Ask for the erasure of a unit."""

    unit_id: Id


class ErasurePath(BaseModel):
    erasure_id: str


class UnitPath(BaseModel):
    unit_id: str


@blueprint.post("/units/token", responses={200: TokenAnswer})
@needs("decide")
def token(body: TokenRequest) -> Response:
    """A proof, for the app's own page, that it speaks for this unit: browsers need it where something is personal."""
    secret = process().settings.secret_key
    return as_json({"unit_id": body.unit_id, "unit_token": unit_tokens.make(secret, body.unit_id, body.lifetime_s)})


@blueprint.post("/consent", responses={200: ConsentAnswer})
@needs("reward", browsers=True)
def record(body: ConsentRequest) -> Response:
    """Record that a person granted, denied or revoked something. It applies from this answer on; repeating it changes nothing."""
    check_unit(caller(), body.unit_id)
    return as_json(consent.record(process().engine, caller(), body))


@blueprint.get("/consent/<path:unit_id>", responses={200: ConsentLedger})
@needs("people")
def look_up(path: UnitPath) -> Response:
    """The current consent of a unit, and the ledger behind it."""
    return as_json(people.consent_of(process().engine, caller(), path.unit_id))


@blueprint.get("/units/<path:unit_id>", responses={200: ConsentLedger})
@needs("people")
def export(path: UnitPath) -> Response:
    """Everything that is stored about a unit, for the person."""
    return as_json(people.export(process().engine, caller(), path.unit_id))


@blueprint.post("/erasure", responses={202: ErasureAnswer})
@needs("people")
def erase(body: ErasureRequest) -> Response:
    """Remove every trace of a unit. From this answer on nothing personal is decided for it; the worker does the rest."""
    at = process()
    return as_json(erasure.ask(at.engine, at.settings, caller(), body.unit_id), 202)


@blueprint.get("/erasure/<erasure_id>", responses={200: ErasureAnswer})
@needs("people")
def erasure_receipt(path: ErasurePath) -> Response:
    """The progress of an erasure; once it is done, its receipt."""
    return as_json(erasure.look_up(process().engine, caller(), path.erasure_id))
