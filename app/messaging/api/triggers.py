"""Triggers, webhooks and deliveries: what product managers' tools and administrators call."""

from typing import Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.design.api.experiments import KeyPath, Page
from app.foundation.api import answers
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.messaging.delivery import log as deliveries
from app.messaging.delivery import webhooks
from app.messaging.delivery.webhooks import WebhookPatch, WebhookSpec
from app.messaging.triggers import dry_run
from app.messaging.triggers import lifecycle as triggers
from app.messaging.triggers.definition import TriggerConfig
from app.people.people import check_unbound

blueprint = APIBlueprint(
    "triggers",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="triggers", description="When messages are sent, and where to.")],
    abp_responses=answers.PROBLEMS,
)


class TriggerPatch(TriggerConfig):
    """The top-level fields to replace; what is not given stays."""

    key: str | None = None  # type: ignore[assignment]
    experiment: str | None = None  # type: ignore[assignment]
    pattern: Any = None
    delivery: Any = None
    version: int | None = Field(
        default=None, ge=1, description="Refused with 409 when the definition changed since that version."
    )


class TriggerAnswer(BaseModel):
    """The definition as it was given, with defaults, and where the trigger stands."""

    key: str
    status: str
    version: int = Field(description="Of the definition; a change that names it is never made over somebody else's.")
    name: str
    experiment: str
    pattern: dict[str, Any]
    conditions: list[dict[str, Any]]
    delay_s: float | dict[str, Any]
    priority: int
    variables: dict[str, str]
    context: dict[str, str]
    channel: str | None
    locale: str | None
    time_zone: str | None
    delivery: dict[str, Any]
    created_by: str
    created_at: str
    changed_at: str


class TriggerListAnswer(BaseModel):
    triggers: list[TriggerAnswer]
    next: str | None = Field(description="Give it as `after` to go on; null at the end.")


class FiringAnswer(BaseModel):
    id: int
    cause: str = Field(description="The event's id, or of a milestone the unit: it fires the trigger once.")
    caused_at: str
    unit_id: str
    status: str
    reason: str | None = Field(description="Why nothing was said.")
    due_at: str
    wait_decision_id: str | None = Field(description="The decision that chose the waiting time; reward it.")
    decision_id: str | None
    finished_at: str | None
    experiment: str = Field(description="That it asks for its message.")


class FiringListAnswer(BaseModel):
    firings: list[FiringAnswer]
    next: str | None


class DryRunAnswer(BaseModel):
    since: str
    until: str
    firings: int
    units: int
    days: list[dict[str, Any]]
    sample: list[dict[str, Any]] = Field(description="The newest, at most 100.")


class WebhookAnswer(BaseModel):
    key: str
    url: str
    status: str
    secret_version: int
    version: int = Field(description="Of address and secret.")
    created_by: str
    created_at: str
    silent_since: str | None = Field(description="No call was answered since then; null: the last one was.")
    retry_at: str | None = Field(description="The next call to a silent one.")


class WebhookSecretAnswer(WebhookAnswer):
    secret: str = Field(description="Shown now and never again.")


class WebhookListAnswer(BaseModel):
    webhooks: list[WebhookAnswer]
    next: str | None


class AttemptAnswer(BaseModel):
    number: int
    at: str
    status: int | None = Field(description="HTTP's; null: there was no answer.")
    error: str | None
    seconds: float


class DeliveryAnswer(BaseModel):
    id: int
    decision_id: str
    experiment: str
    unit_id: str
    to: str = Field(description="unit (held for it) or webhook.")
    webhook: str | None = Field(description="Its key. Null: held for its unit, or the webhook is gone.")
    message: answers.Message
    status: str
    next_at: str | None
    created_at: str
    finished_at: str | None
    attempts: list[AttemptAnswer]


class DeliveryListAnswer(BaseModel):
    deliveries: list[DeliveryAnswer]
    next: str | None


class DeliveriesQuery(BaseModel):
    webhook: str | None = None
    status: str | None = Field(default=None, description="waiting, delivered or failed.")
    after_id: int | None = Field(default=None, ge=0, lt=2**63, description="The `next` of the page before.")
    limit: int = Field(default=50, ge=1, le=200)


class DeliveryPath(BaseModel):
    delivery_id: int = Field(ge=0, lt=2**63)


class Deleted(BaseModel):
    key: str
    deleted: bool


@blueprint.post("/triggers", responses={201: TriggerAnswer})
@needs("manage")
def create(body: TriggerConfig) -> Response:
    """Define a trigger; it is paused until it is started."""
    check_unbound(caller())
    made = triggers.create(process().engine, _document(), caller().key_id)
    return as_json(triggers.as_json(made), 201)


@blueprint.get("/triggers", responses={200: TriggerListAnswer})
@needs("read")
def newest(query: Page) -> Response:
    """Triggers, newest first."""
    check_unbound(caller())
    found = triggers.newest(process().engine, after_id=query.after, limit=query.limit)
    return as_json({"triggers": [triggers.as_json(one) for one in found], "next": _next(found, query.limit)})


@blueprint.post("/triggers/dry-run", responses={200: DryRunAnswer})
@needs("read")
def dry_run_of_definition(body: TriggerConfig) -> Response:
    """Whom a trigger of this definition would have reached in the last seven days. Nothing is stored."""
    check_unbound(caller())
    return as_json(dry_run.dry_run(process().engine, _document()))


@blueprint.get("/triggers/<key>", responses={200: TriggerAnswer})
@needs("read")
def get(path: KeyPath) -> Response:
    """One trigger."""
    check_unbound(caller())
    return as_json(triggers.as_json(triggers.get(process().engine, path.key)))


@blueprint.patch("/triggers/<key>", responses={200: TriggerAnswer})
@needs("manage")
def change(path: KeyPath, body: TriggerPatch) -> Response:
    """Replace top-level fields. Firings that wait keep what they were made with."""
    check_unbound(caller())
    patch = {name: value for name, value in _document().items() if name != "version"}
    return as_json(triggers.as_json(triggers.change(process().engine, path.key, patch, caller().key_id, body.version)))


@blueprint.delete("/triggers/<key>", responses={200: Deleted})
@needs("manage")
def delete(path: KeyPath) -> Response:
    """Forget a trigger; its firings that wait are skipped."""
    check_unbound(caller())
    triggers.delete(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})


@blueprint.post("/triggers/<key>/start", responses={200: TriggerAnswer})
@needs("manage")
def start(path: KeyPath) -> Response:
    """Let it fire, for events that are looked at from now on."""
    return _moved(path.key, "start")


@blueprint.post("/triggers/<key>/pause", responses={200: TriggerAnswer})
@needs("manage")
def pause(path: KeyPath) -> Response:
    """Let it fire no more; firings that become due meanwhile are skipped."""
    return _moved(path.key, "pause")


@blueprint.post("/triggers/<key>/dry-run", responses={200: DryRunAnswer})
@needs("read")
def dry_run_of_trigger(path: KeyPath) -> Response:
    """Whom the trigger, as it stands, would have reached in the last seven days."""
    check_unbound(caller())
    found = triggers.get(process().engine, path.key)
    return as_json(dry_run.dry_run(process().engine, found.definition))


@blueprint.get("/triggers/<key>/firings", responses={200: FiringListAnswer})
@needs("read")
def firings(path: KeyPath, query: Page) -> Response:
    """Firings of a trigger, newest first, with the decisions that were made."""
    check_unbound(caller())
    found = triggers.firings(process().engine, path.key, after_id=query.after, limit=query.limit)
    return as_json({"firings": [triggers.firing_as_json(one) for one in found], "next": _next(found, query.limit)})


@blueprint.post("/webhooks", responses={201: WebhookSecretAnswer})
@needs("manage")
def create_webhook(body: WebhookSpec) -> Response:
    """Store an address. The secret that signatures are made with is in this answer only."""
    check_unbound(caller())
    made, secret = webhooks.create(process().engine, process().settings, body, caller().key_id)
    return as_json(webhooks.as_json(made) | {"secret": secret}, 201)


@blueprint.get("/webhooks", responses={200: WebhookListAnswer})
@needs("read")
def newest_webhooks(query: Page) -> Response:
    """Webhooks, newest first."""
    check_unbound(caller())
    found = webhooks.newest(process().engine, after_id=query.after, limit=query.limit)
    return as_json({"webhooks": [webhooks.as_json(one) for one in found], "next": _next(found, query.limit)})


@blueprint.get("/webhooks/<key>", responses={200: WebhookAnswer})
@needs("read")
def get_webhook(path: KeyPath) -> Response:
    """One webhook."""
    check_unbound(caller())
    return as_json(webhooks.as_json(webhooks.get(process().engine, path.key)))


@blueprint.patch("/webhooks/<key>", responses={200: WebhookAnswer})
@needs("manage")
def change_webhook(path: KeyPath, body: WebhookPatch) -> Response:
    """Another address, or pause it, or let it run again."""
    check_unbound(caller())
    changed = webhooks.change(process().engine, process().settings, path.key, body, caller().key_id)
    return as_json(webhooks.as_json(changed))


@blueprint.delete("/webhooks/<key>", responses={200: Deleted})
@needs("manage")
def delete_webhook(path: KeyPath) -> Response:
    """Forget a webhook that no trigger delivers to; its deliveries that wait fail."""
    check_unbound(caller())
    webhooks.delete(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})


@blueprint.post("/webhooks/<key>/rotate", responses={200: WebhookSecretAnswer})
@needs("manage")
def rotate(path: KeyPath) -> Response:
    """A new secret, in this answer only; everything from now on is signed with it."""
    check_unbound(caller())
    made, secret = webhooks.rotate(process().engine, process().settings, path.key, caller().key_id)
    return as_json(webhooks.as_json(made) | {"secret": secret})


@blueprint.get("/deliveries", responses={200: DeliveryListAnswer})
@needs("read")
def newest_deliveries(query: DeliveriesQuery) -> Response:
    """Deliveries with every attempt, newest first."""
    check_unbound(caller())
    found = deliveries.newest(
        process().engine, webhook=query.webhook, status=query.status, after_id=query.after_id, limit=query.limit
    )
    following = str(found[-1]["id"]) if len(found) == query.limit else None
    return as_json({"deliveries": found, "next": following})


@blueprint.post("/deliveries/<int:delivery_id>/replay", responses={200: DeliveryAnswer})
@needs("manage")
def replay(path: DeliveryPath) -> Response:
    """Send a delivery again, as if it were new."""
    check_unbound(caller())
    return as_json(deliveries.replay(process().engine, path.delivery_id, caller().key_id))


def _moved(key: str, verb: str) -> Response:
    check_unbound(caller())
    return as_json(triggers.as_json(triggers.move(process().engine, key, verb, caller().key_id)))


def _document() -> Any:
    """The body as it was sent: what it leaves out is told apart from null."""
    return request.document  # type: ignore[attr-defined]


def _next(found: list[Any], limit: int) -> str | None:
    return str(found[-1].id) if len(found) == limit else None
