"""The shapes of decide calls, independent of any web framework."""

import hashlib
from typing import NamedTuple

from pydantic import Field, JsonValue

from app.content.message_config import Channel, LocaleKey, VariableName, VariableValue
from app.design.experiment_config import MAX_ACTIONS, MAX_POSITIONS, ActionSpec
from app.design.people_config import TimeZone
from app.foundation.fields import MAX_BATCH, Id, JsonObject, Key, Model
from app.foundation.formats.same_json import canonical
from app.foundation.ids import new_id


class DecideRequest(Model):
    """Ask for one action."""

    experiment: Key
    unit_id: Id = Field(description="Whom the arm is assigned to: a user, a household, a session.")
    context: JsonObject = Field(default_factory=dict, description="What is known now, as nested JSON.")
    actions: list[ActionSpec] | None = Field(
        default=None, max_length=MAX_ACTIONS, description="This call's candidates; without it the experiment's actions."
    )
    excluded_actions: list[Id] = Field(default_factory=list, max_length=MAX_ACTIONS)
    decision_id: Id | None = Field(default=None, description="Your own id: asking again with it gives the same answer.")
    defer_activation: bool = Field(default=False, description="True: not learned from until it is activated.")
    time_zone: TimeZone | None = Field(default=None, description="The unit's, as Europe/Vienna; for quiet hours.")
    test: bool = Field(default=False, description="True: a trial. It is decided and logged, and counts nowhere.")
    slots: int | None = Field(
        default=None,
        ge=1,
        le=MAX_POSITIONS,
        description="A list of so many different actions, each a decision of its own.",
    )


class DecideBatch(Model):
    """Several decisions in one commit: all are stored, or none."""

    decisions: list[DecideRequest] = Field(
        min_length=1, max_length=MAX_BATCH, description="At most 1,000 with all positions of lists counted."
    )


class MessageRequest(DecideRequest):
    """Ask for one message."""

    variables: dict[VariableName, VariableValue | None] = Field(
        default_factory=dict, max_length=50, description="Values of the templates' placeholders for this person."
    )
    locale: LocaleKey = Field(default="en", description="The person's language, such as de-AT.")
    channel: Channel | None = Field(default=None, description="Only variants of this channel; without it any.")


class Slot(NamedTuple):
    """One position of a list that differs from the others."""

    id: str  # the caller's own name for it
    features: JsonObject  # what is known of this place; empty: nothing
    excluded_actions: frozenset[str]  # actions that it does not take
    baseline: str | None = None  # what the caller would show there: it is offered first


class SlottedRequest(DecideRequest):
    """Ask for a list whose positions differ, as clients of Azure Personalizer do."""

    places: list[Slot] = Field(default_factory=list, description="One for each of the slots, from the top.")


class IdentifiedRequest(NamedTuple):
    """One request for a decision with its identity."""

    request: DecideRequest
    body_hash: str  # empty: the id was made here
    decision_id: str
    actions: JsonValue  # the call's candidates as the caller sent them, or None

    @property
    def positions(self) -> int:
        """The number of requested decisions: the length of a list, or 1."""
        return self.request.slots or 1


def identify(request: DecideRequest, body: JsonObject) -> IdentifiedRequest:
    """Give a request its id, and the hash that distinguishes a retry from another request with the same id.

    :param body: the request as parsed JSON; two bodies are the same by the rule of ``same_json``.
    """
    if request.decision_id is None:  # nobody else knows the new id, so no retry is compared with this request
        return IdentifiedRequest(request, "", new_id(), body.get("actions"))
    body_hash = hashlib.sha256(canonical(body)).hexdigest()
    return IdentifiedRequest(request, body_hash, request.decision_id, body.get("actions"))
