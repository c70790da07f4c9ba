"""The requests in which an app reports what its users do."""

from typing import Annotated, Final, Self

import orjson
from pydantic import AfterValidator, Field, model_validator

from app.foundation.fields import MAX_BATCH, Id, JsonObject, Key, Model, Time, wrong

MAX_PROPERTY_BYTES: Final = 16_384


def _bounded(properties: JsonObject) -> JsonObject:
    if len(orjson.dumps(properties)) > MAX_PROPERTY_BYTES:
        raise wrong("properties_too_large", {"limit": MAX_PROPERTY_BYTES})
    return properties


Properties = Annotated[JsonObject, AfterValidator(_bounded)]


class EventRequest(Model):
    """Something that a unit did."""

    unit_id: Id
    name: Key = Field(description="What happened, such as lesson-done.")
    properties: Properties = Field(default_factory=dict, description="Flat or nested JSON, at most 16 KiB.")
    event_id: Id | None = Field(
        default=None,
        description="Your own id. Without it an event is identified by its content, so equal events count once.",
    )
    occurred_at: Time | None = Field(default=None, description="When it happened; without it, when it arrived.")


class EventsRequest(Model):
    """One event, or several in one commit: all are stored, or none."""

    events: list[EventRequest] | None = Field(default=None, min_length=1, max_length=MAX_BATCH)
    unit_id: Id | None = None
    name: Key | None = None
    properties: Properties = Field(default_factory=dict)
    event_id: Id | None = None
    occurred_at: Time | None = None

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.events is not None:
            if self.model_fields_set != {"events"}:
                raise wrong("event_and_events")
        elif self.unit_id is None or self.name is None:
            raise wrong("no_event")
        return self

    def each(self) -> list[EventRequest]:
        """Return the checked events of either form."""
        if self.events is not None:
            return self.events
        fields = {name: getattr(self, name) for name in self.model_fields_set - {"events"}}
        return [EventRequest.model_construct(**fields)]
