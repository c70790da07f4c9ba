"""The definition of a trigger: the events that it waits for, its conditions, and the message that it requests."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from app.content.message_config import Channel, VariableName
from app.foundation.fields import (
    JsonObject,
    Key,
    Model,
    PropertyPath,
    invalid,
    names_by_pattern,
    pydantic_fields,
    wrong,
)

DAY_S: Final = 86_400
MAX_WINDOW_S: Final = 90 * DAY_S
MAX_DELAY_S: Final = 30 * DAY_S
MAX_COUNT: Final = 100
MOST_COUNTED: Final = 10_000  # counting a unit's events stops here
MISSING: Final = object()

Relation = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "exists"]
Scalar = Annotated[str, StringConstraints(max_length=500)] | bool | int | float | None


class EventPattern(Model):
    """Each event of that name."""

    type: Literal["event"]
    event: Key


class CountPattern(Model):
    """The event that completes a count within a rolling window. It fires again once the window has no event of that count."""

    type: Literal["count"]
    event: Key
    count: int = Field(ge=2, le=MAX_COUNT)
    window_s: float = Field(ge=1, le=MAX_WINDOW_S)


class AbsencePattern(Model):
    """A unit that had such an event, and then no other for ``for_s`` seconds; fires once for each silence."""

    type: Literal["absence"]
    event: Key
    for_s: float = Field(ge=1, le=MAX_WINDOW_S)


class MilestonePattern(Model):
    """The first event of a unit whose property reaches a value; fires once for each unit."""

    type: Literal["milestone"]
    event: Key
    property: PropertyPath
    at_least: float = Field(ge=-1e15, le=1e15)


Pattern = Annotated[EventPattern | CountPattern | AbsencePattern | MilestonePattern, Field(discriminator="type")]


class ProfileCount(Model):
    """How many events of a name the unit had, within a window that ends with the event that fires."""

    event: Key
    window_s: float = Field(ge=1, le=MAX_WINDOW_S)


class Condition(Model):
    """A property of the event, or a count of the unit's events, compared with a value."""

    property: PropertyPath | None = None
    profile: ProfileCount | None = None
    relation: Relation = Field(alias="is")
    value: Scalar | list[Scalar] = None

    @model_validator(mode="after")
    def _fits(self) -> "Condition":
        if (self.property is None) == (self.profile is None):
            raise wrong("property_or_profile")
        if self.relation == "in" and not (isinstance(self.value, list) and 1 <= len(self.value) <= 100):
            raise wrong("in_takes_list")
        if self.relation == "exists" and not isinstance(self.value, bool):
            raise wrong("exists_takes_bool")
        if self.relation in ("eq", "ne", *_ORDERS) and isinstance(self.value, list):
            raise wrong("takes_one_value", {"relation": self.relation})
        if self.relation in _ORDERS and not (_is_number(self.value) or isinstance(self.value, str)):
            raise wrong("takes_number_or_text", {"relation": self.relation})
        if self.profile is not None and (self.relation in ("in", "exists") or not _is_number(self.value)):
            raise wrong("count_takes_number")
        return self

    def holds(self, actual: Any) -> bool:
        """Check the condition. A value of another type is unequal to the condition's, and neither above nor below it."""
        if self.relation == "exists":
            return (actual is not MISSING) == self.value
        if actual is MISSING:
            return False
        if self.relation in ("eq", "ne"):
            return _same(actual, self.value) == (self.relation == "eq")
        if self.relation == "in":
            return any(_same(actual, value) for value in self.value)  # type: ignore[union-attr]
        comparable = (_is_number(actual) and _is_number(self.value)) or (
            isinstance(actual, str) and isinstance(self.value, str)
        )
        return comparable and _ORDERS[self.relation](actual, self.value)


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class Cadence(Model):
    """The waiting time is chosen by an experiment whose actions' payloads carry ``wait_s``."""

    experiment: Key


class ToWebhook(Model):
    to: Literal["webhook"]
    webhook: Key


class ToUnit(Model):
    """Held for the unit's stream, and for polling."""

    to: Literal["unit"]


class TriggerConfig(Model):
    """The whole definition of a trigger."""

    key: Key
    name: str = Field(default="", max_length=200)
    experiment: Key = Field(description="The experiment that chooses the message.")
    pattern: Pattern
    conditions: list[Condition] = Field(
        default_factory=list, max_length=20, description="All have to hold, for the event that fires."
    )
    delay_s: Annotated[float, Field(ge=0, le=MAX_DELAY_S)] | Cadence = 0.0
    priority: int = Field(
        default=0, ge=-1000, le=1000, description="Of several that are due for one unit, the highest goes first."
    )
    variables: dict[VariableName, PropertyPath] = Field(
        json_schema_extra=names_by_pattern,
        default_factory=dict,
        max_length=50,
        description="Of the message, from the event's properties.",
    )
    context: dict[Annotated[str, StringConstraints(min_length=1, max_length=200)], PropertyPath] = Field(
        default_factory=dict, max_length=50, description="Of the decision, from the event's properties."
    )
    channel: Channel | None = None
    locale: PropertyPath | None = Field(default=None, description="The property that holds the unit's language.")
    time_zone: PropertyPath | None = Field(default=None, description="The property that holds the unit's time zone.")
    delivery: Annotated[ToWebhook | ToUnit, Field(discriminator="to")]


def parse_trigger(document: object) -> TriggerConfig:
    """Check a whole definition.

    :raises Unprocessable: naming every wrong field.
    """
    try:
        return TriggerConfig.model_validate(document)
    except ValidationError as error:
        raise invalid(pydantic_fields(error, document)) from None


def plain(config: TriggerConfig) -> JsonObject:
    """Return the definition as JSON, as it is stored and shown."""
    document: JsonObject = config.model_dump(mode="json", by_alias=True)
    document["conditions"] = [
        {name: value for name, value in condition.items() if name == "value" or value is not None}
        for condition in document["conditions"]
    ]
    return document


def look_up(properties: Any, path: str) -> Any:
    """Return the value at a path, or ``MISSING``."""
    for name in path.split("."):
        if not isinstance(properties, dict) or name not in properties:
            return MISSING
        properties = properties[name]
    return properties


def reaches(pattern: MilestonePattern, properties: Any) -> bool:
    """True when the event's property reaches the milestone."""
    value = look_up(properties, pattern.property)
    return _is_number(value) and value >= pattern.at_least


def properties_hold(config: TriggerConfig, properties: Any) -> bool:
    """True when all conditions on the event's properties hold."""
    return all(
        condition.holds(look_up(properties, condition.property))
        for condition in config.conditions
        if condition.property is not None
    )


def request_of(config: TriggerConfig, unit_id: str, properties: Any) -> JsonObject:
    """Build the body of the message request from an event's properties. Missing properties are left out."""

    def values(paths: dict[str, str]) -> JsonObject:
        values_at = {name: look_up(properties, path) for name, path in paths.items()}
        return {name: value for name, value in values_at.items() if value is not MISSING and value is not None}

    single = {name: path for name, path in (("locale", config.locale), ("time_zone", config.time_zone)) if path}
    request = {"experiment": config.experiment, "unit_id": unit_id, **values(single)}
    if config.channel is not None:
        request["channel"] = config.channel
    return request | {"variables": values(config.variables), "context": values(config.context)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(actual: Any, value: Any) -> bool:
    """Equal in JSON: 1 and 1.0 are, 1 and true are not."""
    return (type(actual) is type(value) and actual == value) or (
        _is_number(actual) and _is_number(value) and actual == value
    )
