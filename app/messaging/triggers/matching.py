"""Holds events against the running triggers, and makes firings.

One transaction takes events off the list, stores what they fire and notes which silences were looked at: after a kill
all of it happens again, or nothing. One process at a time does it, because a count must see the firings before it.
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
MOST_SILENCES = 2000  # events that one look for silences goes through

log = structlog.get_logger()


class Matched(NamedTuple):
    """What one transaction did."""

    events: int  # that were looked at
    firings: int  # new ones


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
    """Look at the oldest events that wait, and for silences."""
    with transaction(engine) as connection:
        if not try_hold(connection, Kind.ALONE, "match"):
            return Matched(0, 0)
        lines = events.take_waiting(connection, most)
        found = [row for row in lines if row.event_id is not None]
        rows: list[NewFiring] = []
        for trigger in _running(connection):
            rows += _firings(trigger, _hits(connection, trigger, found))
            rows += _firings(trigger, _newly_silent(connection, trigger))
        return Matched(len(lines), triggers.fire(connection, rows) if rows else 0)


def _running(connection: Connection) -> list[_Running]:
    """The triggers that run. One that cannot be read, since another version wrote it, must not keep others from firing."""
    found = []
    for stored in triggers.running(connection):
        try:
            found.append(_Running(stored, parse_trigger(stored.definition)))
        except Unprocessable as error:
            log.error("trigger_unreadable", trigger=stored.key, error=error.detail)
    return found


def hit(row: AnyRow) -> Hit:
    """A stored event as a hit."""
    return Hit(row.event_id, row.unit_id, row.occurred_at, row.properties)


def conditions_hold(connection: Connection, config: TriggerConfig, hits: Iterable[Hit]) -> list[Hit]:
    """Those for which every condition holds."""
    kept = [one for one in hits if properties_hold(config, one.properties)]
    for condition in config.conditions:
        if condition.profile is not None and kept:
            name, window_s = condition.profile.event, condition.profile.window_s
            at = [(one.unit_id, one.at) for one in kept]
            found = events.counts(connection, at, name=name, window_s=window_s, most=MOST_COUNTED)
            kept = [one for one, count in zip(kept, found, strict=True) if condition.holds(count)]
    return kept


def one_per_run(hits: Iterable[Hit], window_s: float, fired: Iterable[tuple[str, datetime]] = ()) -> list[Hit]:
    """Of complete counts, those of which the window holds none that fired already.

    :param fired: units and times of earlier firings.
    """
    times: dict[str, list[datetime]] = {}
    for unit_id, at in fired:
        times.setdefault(unit_id, []).append(at)
    kept = []
    for one in sorted(hits, key=lambda each: (each.at, each.event_id)):
        before = times.setdefault(one.unit_id, [])
        if all(abs((one.at - at).total_seconds()) >= window_s for at in before):
            before.append(one.at)
            kept.append(one)
    return kept


def _hits(connection: Connection, trigger: _Running, found: list[AnyRow]) -> list[Hit]:
    config = trigger.config
    pattern = config.pattern
    rows = [row for row in found if row.name == pattern.event]
    if not rows:
        return []
    if isinstance(pattern, CountPattern):
        return _counted(connection, trigger, pattern, rows)
    if isinstance(pattern, MilestonePattern):
        rows = _reaching(connection, trigger, pattern, rows)
    elif isinstance(pattern, AbsencePattern):
        rows = _silent_on_arrival(connection, trigger, pattern, rows)
    return conditions_hold(connection, config, map(hit, rows))


def _counted(connection: Connection, trigger: _Running, pattern: CountPattern, rows: list[AnyRow]) -> list[Hit]:
    at = [(row.unit_id, row.occurred_at) for row in rows]
    complete = events.completing(connection, at, name=pattern.event, count=pattern.count, window_s=pattern.window_s)
    hits = conditions_hold(connection, trigger.config, map(hit, complete))
    if not hits:
        return []
    since = min(one.at for one in hits) - timedelta(seconds=pattern.window_s)
    units = list({one.unit_id for one in hits})
    return one_per_run(hits, pattern.window_s, triggers.fired_at(connection, trigger.stored.id, units, since))


def _reaching(connection: Connection, trigger: _Running, pattern: MilestonePattern, rows: list[AnyRow]) -> list[AnyRow]:
    rows = [row for row in rows if reaches(pattern, row.properties)]
    fired = triggers.causes_of(connection, trigger.stored.id, list({row.unit_id for row in rows})) if rows else set()
    return not_before(connection, pattern, [row for row in rows if row.unit_id not in fired])


def not_before(connection: Connection, pattern: MilestonePattern, rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Those whose units had not reached the milestone with an earlier event."""
    if not rows:
        return []
    before = events.reached_before(
        connection, list(rows), name=pattern.event, path=pattern.property.split("."), at_least=pattern.at_least
    )
    return [row for row, already in zip(rows, before, strict=True) if not already]


def _silent_on_arrival(
    connection: Connection, trigger: _Running, pattern: AbsencePattern, rows: list[AnyRow]
) -> list[AnyRow]:
    """Events that arrived so late that their silences were complete when silences were looked at last."""
    looked = trigger.stored.silent_until
    for_s = timedelta(seconds=pattern.for_s)
    started = trigger.stored.changed_at  # what was silent already then is none of this trigger's business
    late = [row for row in rows if looked is not None and started <= row.occurred_at + for_s <= looked]
    last = events.still_last(connection, [row.event_id for row in late]) if late else set()
    return [row for row in late if row.event_id in last]


def _newly_silent(connection: Connection, trigger: _Running) -> list[Hit]:
    """Silences that are complete now and were not when they were looked at last."""
    pattern, looked = trigger.config.pattern, trigger.stored.silent_until
    if not isinstance(pattern, AbsencePattern) or looked is None:
        return []
    for_s = timedelta(seconds=pattern.for_s)
    until = platform.now(connection) - for_s
    if until <= looked - for_s:
        return []
    rows, bound = events.silent_since(
        connection, name=pattern.event, since=looked - for_s, until=until, most=MOST_SILENCES
    )
    triggers.set_silent_until(connection, trigger.stored.id, bound + for_s)
    return conditions_hold(connection, trigger.config, map(hit, rows))


def _firings(trigger: _Running, hits: list[Hit]) -> list[NewFiring]:
    config = trigger.config
    delay_s = config.delay_s if isinstance(config.delay_s, float) else 0.0
    return [
        NewFiring(
            trigger_id=trigger.stored.id,
            cause=one.unit_id if isinstance(config.pattern, MilestonePattern) else one.event_id,
            caused_at=one.at,
            unit_id=one.unit_id,
            request=request_of(config, one.unit_id, one.properties),
            priority=config.priority,
            delay_s=delay_s,
        )
        for one in hits
    ]
