"""Triggers in words: what each waits for, on which conditions, when it speaks and where to."""

from app.foundation.pages.format import duration, number
from app.messaging.pages.trigger_values import as_text
from app.messaging.triggers.definition import (
    AbsencePattern,
    Cadence,
    Condition,
    CountPattern,
    EventPattern,
    MilestonePattern,
    ToWebhook,
    TriggerConfig,
)

RELATIONS = {
    "eq": "is",
    "ne": "is not",
    "gt": "is above",
    "gte": "is at least",
    "lt": "is below",
    "lte": "is at most",
    "in": "is one of",
    "exists": "is there",
}
REASONS = {"waiting": ("waiting", "info"), "decided": ("decided", "ok"), "skipped": ("nothing said", "warn")}


def pattern(config: TriggerConfig) -> str:
    """What it waits for."""
    found = config.pattern
    if isinstance(found, EventPattern):
        return f"each {found.event}"
    if isinstance(found, CountPattern):
        return f"{found.count} {found.event} within {duration(found.window_s)}"
    if isinstance(found, AbsencePattern):
        return f"no {found.event} for {duration(found.for_s)}"
    assert isinstance(found, MilestonePattern)
    return f"the first {found.event} whose {found.property} reaches {number(found.at_least, 12)}"


def condition(one: Condition) -> str:
    """One condition."""
    if one.profile is not None:
        what = f"the number of {one.profile.event} within {duration(one.profile.window_s)}"
    else:
        what = str(one.property)
    if one.relation == "exists":
        return f"{what} {'is there' if one.value else 'is missing'}"
    return f"{what} {RELATIONS[one.relation]} {as_text(one.value) or 'empty'}"


def delay(config: TriggerConfig) -> str:
    """When it speaks."""
    if isinstance(config.delay_s, Cadence):
        return f"as long after as experiment {config.delay_s.experiment} chooses"
    return f"{duration(config.delay_s)} after" if config.delay_s else "at once"


def delivery(config: TriggerConfig) -> str:
    """Where the message goes."""
    if isinstance(config.delivery, ToWebhook):
        return f"to the webhook {config.delivery.webhook}"
    return "held for the unit's app, which listens or asks"
