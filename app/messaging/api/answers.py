"""The shapes of requests and answers about triggers, webhooks and deliveries."""

from typing import Any

from pydantic import BaseModel, Field

from app.deciding.api.answers import Message
from app.foundation.fields import JsonObject
from app.messaging.triggers.definition import TriggerConfig


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
    pattern: JsonObject
    conditions: list[JsonObject]
    delay_s: float | JsonObject
    priority: int
    variables: dict[str, str]
    context: dict[str, str]
    channel: str | None
    locale: str | None
    time_zone: str | None
    delivery: JsonObject
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
    reason: str | None = Field(description="Why no message was sent.")
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
    days: list[JsonObject]
    sample: list[JsonObject] = Field(description="The newest, at most 100.")


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
    message: Message
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
