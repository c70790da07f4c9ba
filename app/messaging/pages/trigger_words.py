"""Triggers in words: what each waits for, on which conditions, when it speaks and where to."""

from app.foundation.formats.typed_values import as_text
from app.foundation.pages.format import duration, number
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
    """When it fires."""
    pattern = config.pattern
    if isinstance(pattern, EventPattern):
        return f"each {pattern.event}"
    if isinstance(pattern, CountPattern):
        return f"{pattern.count} {pattern.event} within {duration(pattern.window_s)}"
    if isinstance(pattern, AbsencePattern):
        return f"no {pattern.event} for {duration(pattern.for_s)}"
    assert isinstance(pattern, MilestonePattern)
    return f"the first {pattern.event} whose {pattern.property} reaches {number(pattern.at_least, 12)}"


def condition(condition: Condition) -> str:
    """One condition."""
    if condition.profile is not None:
        what = f"the number of {condition.profile.event} within {duration(condition.profile.window_s)}"
    else:
        what = str(condition.property)
    if condition.relation == "exists":
        return f"{what} {'is there' if condition.value else 'is missing'}"
    return f"{what} {RELATIONS[condition.relation]} {as_text(condition.value) or 'empty'}"


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
