"""Matches events with the running triggers, and creates firings.

One transaction takes events off the list, stores their firings and records up to when silences were examined. So a killed
worker leaves all of it done or none. Only one process matches at a time, because a count must see earlier firings.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from app.foundation.errors import Unprocessable
from app.foundation.store import platform
from app.foundation.store.engine import AnyRow, transaction
from app.foundation.store.locks import Kind, try_hold
from app.messaging.store import events, triggers
from app.messaging.store.triggers import NewFiring, StoredTrigger
from app.messaging.triggers.definition import (
    MOST_COUNTED,
    AbsencePattern,
    CountPattern,
    MilestonePattern,
    TriggerConfig,
    parse_trigger,
    properties_hold,
    reaches,
    request_of,
)

BATCH = 500  # events of one transaction
MOST_SILENCES = 2000  # events that are examined for silences in one transaction

log = structlog.get_logger()


class Matched(NamedTuple):
    """The result of one transaction."""

    events: int  # events that were examined
    firings: int  # new firings


class Hit(NamedTuple):
    """An event that may fire a trigger."""

    event_id: str
    unit_id: str
    at: datetime
    properties: object


class _Running(NamedTuple):
    stored: StoredTrigger
    config: TriggerConfig


def match_some(engine: Engine, most: int = BATCH) -> Matched:
    """Match the oldest events that wait, and the silences that have become complete."""
    with transaction(engine) as connection:
        if not try_hold(connection, Kind.ALONE, "match"):
            return Matched(0, 0)
        lines = events.take_waiting(connection, most)
        arrived = [row for row in lines if row.event_id is not None]
        rows: list[NewFiring] = []
        for trigger in _running(connection):
            rows += _firings(trigger, _hits(connection, trigger, arrived))
            rows += _firings(trigger, _newly_silent(connection, trigger))
        return Matched(len(lines), triggers.fire(connection, rows) if rows else 0)


def _running(connection: Connection) -> list[_Running]:
    """The running triggers. An unreadable definition, written by another version, must not stop the others from firing."""
    running = []
    for stored in triggers.running(connection):
        try:
            running.append(_Running(stored, parse_trigger(stored.definition)))
        except Unprocessable as error:
            log.error("trigger_unreadable", trigger=stored.key, error=error.detail)
    return running


def as_hit(row: AnyRow) -> Hit:
    """Convert a stored event to a hit."""
    return Hit(row.event_id, row.unit_id, row.occurred_at, row.properties)


def conditions_hold(connection: Connection, config: TriggerConfig, hits: Iterable[Hit]) -> list[Hit]:
    """Return the hits for which every condition holds."""
    matching = [hit for hit in hits if properties_hold(config, hit.properties)]
    for condition in config.conditions:
        if condition.profile is not None and matching:
            name, window_s = condition.profile.event, condition.profile.window_s
            at = [(hit.unit_id, hit.at) for hit in matching]
            counts = events.counts(connection, at, name=name, window_s=window_s, most=MOST_COUNTED)
            matching = [hit for hit, count in zip(matching, counts, strict=True) if condition.holds(count)]
    return matching


def first_of_each_run(hits: Iterable[Hit], window_s: float, fired: Iterable[tuple[str, datetime]] = ()) -> list[Hit]:
    """Return the complete counts that have no other firing of their unit within a window.

    :param fired: units and times of earlier firings.
    """
    times: dict[str, list[datetime]] = {}
    for unit_id, at in fired:
        times.setdefault(unit_id, []).append(at)
    firing: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.at, hit.event_id)):
        before = times.setdefault(hit.unit_id, [])
        if all(abs((hit.at - at).total_seconds()) >= window_s for at in before):
            before.append(hit.at)
            firing.append(hit)
    return firing


def _hits(connection: Connection, trigger: _Running, arrived: list[AnyRow]) -> list[Hit]:
    config = trigger.config
    pattern = config.pattern
    rows = [row for row in arrived if row.name == pattern.event]
    if not rows:
        return []
    if isinstance(pattern, CountPattern):
        return _counted(connection, trigger, pattern, rows)
    if isinstance(pattern, MilestonePattern):
        rows = _reaching(connection, trigger, pattern, rows)
    elif isinstance(pattern, AbsencePattern):
        rows = _silent_on_arrival(connection, trigger, pattern, rows)
    return conditions_hold(connection, config, map(as_hit, rows))


def _counted(connection: Connection, trigger: _Running, pattern: CountPattern, rows: list[AnyRow]) -> list[Hit]:
    at = [(row.unit_id, row.occurred_at) for row in rows]
    complete = events.completing(connection, at, name=pattern.event, count=pattern.count, window_s=pattern.window_s)
    hits = conditions_hold(connection, trigger.config, map(as_hit, complete))
    if not hits:
        return []
    since = min(hit.at for hit in hits) - timedelta(seconds=pattern.window_s)
    units = list({hit.unit_id for hit in hits})
    return first_of_each_run(hits, pattern.window_s, triggers.fired_at(connection, trigger.stored.id, units, since))


def _reaching(connection: Connection, trigger: _Running, pattern: MilestonePattern, rows: list[AnyRow]) -> list[AnyRow]:
    rows = [row for row in rows if reaches(pattern, row.properties)]
    fired = triggers.causes_of(connection, trigger.stored.id, list({row.unit_id for row in rows})) if rows else set()
    return not_before(connection, pattern, [row for row in rows if row.unit_id not in fired])


def not_before(connection: Connection, pattern: MilestonePattern, rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Return the events whose units had not reached the milestone with an earlier event."""
    if not rows:
        return []
    before = events.reached_before(
        connection, list(rows), name=pattern.event, path=pattern.property.split("."), at_least=pattern.at_least
    )
    return [row for row, already in zip(rows, before, strict=True) if not already]


def _silent_on_arrival(
    connection: Connection, trigger: _Running, pattern: AbsencePattern, rows: list[AnyRow]
) -> list[AnyRow]:
    """Events that arrived after the last examination of silences, though their silence was complete by then."""
    examined_until = trigger.stored.silent_until
    for_s = timedelta(seconds=pattern.for_s)
    started = trigger.stored.changed_at  # a silence that was complete before the start never fires the trigger
    late = [row for row in rows if examined_until is not None and started <= row.occurred_at + for_s <= examined_until]
    last = events.still_last(connection, [row.event_id for row in late]) if late else set()
    return [row for row in late if row.event_id in last]


def _newly_silent(connection: Connection, trigger: _Running) -> list[Hit]:
    """Silences that became complete since the last examination."""
    pattern, examined_until = trigger.config.pattern, trigger.stored.silent_until
    if not isinstance(pattern, AbsencePattern) or examined_until is None:
        return []
    for_s = timedelta(seconds=pattern.for_s)
    until = platform.now(connection) - for_s
    if until <= examined_until - for_s:
        return []
    rows, bound = events.silent_since(
        connection, name=pattern.event, since=examined_until - for_s, until=until, most=MOST_SILENCES
    )
    triggers.set_silent_until(connection, trigger.stored.id, bound + for_s)
    return conditions_hold(connection, trigger.config, map(as_hit, rows))


def _firings(trigger: _Running, hits: list[Hit]) -> list[NewFiring]:
    config = trigger.config
    delay_s = config.delay_s if isinstance(config.delay_s, float) else 0.0
    return [
        NewFiring(
            trigger_id=trigger.stored.id,
            cause=hit.unit_id if isinstance(config.pattern, MilestonePattern) else hit.event_id,
            caused_at=hit.at,
            unit_id=hit.unit_id,
            request=request_of(config, hit.unit_id, hit.properties),
            priority=config.priority,
            delay_s=delay_s,
        )
        for hit in hits
    ]
