"""Computes from the stored events which units a trigger would have reached in the last seven days.

It ignores delays, caps, consent and the choices of the experiment: it counts firings, not messages.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, Engine, exc

from app.foundation.errors import Unprocessable
from app.foundation.fields import JsonObject
from app.foundation.store import platform
from app.foundation.store.engine import AnyRow, transaction
from app.foundation.times import iso
from app.messaging.store import events
from app.messaging.triggers.definition import (
    AbsencePattern,
    CountPattern,
    MilestonePattern,
    TriggerConfig,
    parse_trigger,
    reaches,
)
from app.messaging.triggers.matching import Hit, as_hit, conditions_hold, first_of_each_run, not_before

DAYS = 7
MOST_EVENTS = 50_000
MOST_SHOWN = 100
CANCELLED = "57014"  # PostgreSQL's code for a statement that took too long


def dry_run(engine: Engine, document: object) -> JsonObject:
    """Return the firings and units per day, and the newest firings.

    :raises Unprocessable: the definition is wrong, or there are too many events to look at.
    """
    config = parse_trigger(document)
    try:
        with transaction(engine) as connection:
            until = platform.now(connection)
            since = until - timedelta(days=DAYS)
            hits = conditions_hold(connection, config, _candidates(connection, config, since, until))
    except Exception as error:
        if _took_too_long(error):
            raise _too_large() from None
        raise
    if isinstance(config.pattern, CountPattern):
        hits = [hit for hit in first_of_each_run(hits, config.pattern.window_s) if hit.at > since]
    return _summary(hits, since, until)


def _candidates(connection: Connection, config: TriggerConfig, since: datetime, until: datetime) -> list[Hit]:
    pattern = config.pattern
    before_s = {"count": "window_s", "absence": "for_s"}.get(pattern.type)
    # An earlier complete count may stop a later one from firing, so twice the window is read.
    earlier = timedelta(seconds=2 * getattr(pattern, before_s)) if before_s else timedelta()
    rows = events.between(connection, name=pattern.event, since=since - earlier, until=until, most=MOST_EVENTS + 1)
    if len(rows) > MOST_EVENTS:
        raise _too_large()
    if isinstance(pattern, CountPattern):
        return [hit for unit in _by_unit(rows) for hit in _complete(unit, pattern)]
    if isinstance(pattern, AbsencePattern):
        return [hit for unit in _by_unit(rows) for hit in _silences(unit, pattern, since, until)]
    if isinstance(pattern, MilestonePattern):
        first = {row.unit_id: row for row in reversed(rows) if reaches(pattern, row.properties)}
        return list(map(as_hit, not_before(connection, pattern, list(first.values()))))
    return list(map(as_hit, rows))


def _by_unit(rows: list[AnyRow]) -> Iterable[list[AnyRow]]:
    """Each unit's events, in their order."""
    for _, group in groupby(sorted(rows, key=lambda row: str(row.unit_id)), key=lambda row: row.unit_id):
        yield list(group)


def _complete(rows: list[AnyRow], pattern: CountPattern) -> Iterable[Hit]:
    window = timedelta(seconds=pattern.window_s)
    for index in range(pattern.count - 1, len(rows)):
        if rows[index - pattern.count + 1].occurred_at > rows[index].occurred_at - window:
            yield as_hit(rows[index])


def _silences(rows: list[AnyRow], pattern: AbsencePattern, since: datetime, until: datetime) -> Iterable[Hit]:
    for_s = timedelta(seconds=pattern.for_s)
    for row, later in zip(rows, [*(row.occurred_at for row in rows[1:]), until], strict=True):
        complete = row.occurred_at + for_s
        if since < complete <= later:
            yield as_hit(row)._replace(at=complete)


def _summary(hits: list[Hit], since: datetime, until: datetime) -> JsonObject:
    hits = sorted(hits, key=lambda hit: (hit.at, hit.event_id))
    days = []
    for date, group in groupby(hits, key=lambda hit: hit.at.date()):
        units = [hit.unit_id for hit in group]
        days.append({"date": date.isoformat(), "firings": len(units), "units": len(set(units))})
    return {
        "since": iso(since),
        "until": iso(until),
        "firings": len(hits),
        "units": len({hit.unit_id for hit in hits}),
        "days": days,
        "sample": [{"unit_id": hit.unit_id, "at": iso(hit.at)} for hit in hits[: -MOST_SHOWN - 1 : -1]],
    }


def _took_too_long(error: BaseException) -> bool:
    cause = error if isinstance(error, exc.DBAPIError) else error.__cause__
    return isinstance(cause, exc.DBAPIError) and getattr(cause.orig, "pgcode", None) == CANCELLED


def _too_large() -> Unprocessable:
    message = f"More than {MOST_EVENTS:,} events would have to be looked at, or for too long"
    return Unprocessable("dry_run_too_large", f"{message}; choose a rarer event or a shorter window.")
