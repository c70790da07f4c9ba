"""Watches the fields of the context: one that is gone, has other values than before, or another unit, is an incident.

The worker reads the contexts of newly settled decisions, says of each watched field how many of them are usual
(``experiments.monitoring.usual``), and watches that share for a fall, each unit as one voice a look.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field as Of
from sqlalchemy import Connection, Engine

from app.foundation.fields import Document, JsonObject
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.guardian import openings, pipeline
from app.guardian.openings import Drift
from app.guardian.pipeline import WatchedPipeline
from app.guardian.store import contexts
from app.guardian.store.contexts import Row
from app.guardian.streams import ByUnit, by_unit, per_unit
from app.guardian.thresholds import MOST_FIELDS, threshold_of
from app.registry.lookup import stored_experiment
from experiments.monitoring import falls
from experiments.monitoring.falls import Watch
from experiments.monitoring.usual import LAG, Field, Value, grown, usual

KIND = "context"
EVERY_S = 5.0
FACTOR = 20.0  # at most one part in so many of a worker's time
FIRST = 5_000  # decisions of the past that a new watch reads
MOST = 250  # newest decisions that a look reads: where there are more, they come faster, too
ARM_AFTER = 2_000  # decisions that are known of a field before it is watched, and
ARM_S = 7 * 86_400.0  # the time that they span: hours and days of the week come round
MARGIN = 0.2  # share of usual decisions that may be lost


class WatchedField(Document):
    """One watched field."""

    began: str  # when the first decision was made
    known: Field = Field()
    recent: list[list[Value]] = Of(default_factory=list)  # values of each look that do not count as usual yet
    watch: Watch = Watch()


class WatchedContext(Document):
    """The watched fields of an experiment, and up to which decision they were read."""

    fields: dict[str, WatchedField] = Of(default_factory=dict)
    cursor: str | None = None
    pipeline: WatchedPipeline = WatchedPipeline()


def compute_due(engine: Engine) -> list[str]:
    """Look at every experiment with new outcomes; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: look(engine, key), every_s=EVERY_S, factor=FACTOR)


def stored(connection: Connection, experiment_id: int) -> WatchedContext:
    """What is watched, as the last look left it."""
    document = latest.get(connection, experiment_id, KIND)
    return WatchedContext() if document is None else WatchedContext.model_validate(document.body)


def look(engine: Engine, key: str) -> list[str]:
    """Add the newest decisions' contexts to the watches; returns the fields for which an incident was opened.

    :raises NotFound: no such experiment.
    """
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        before = stored(connection, experiment.id)
        since = datetime.fromisoformat(before.cursor) if before.cursor else None
        rows = contexts.newest(connection, experiment.id, since, FIRST if since is None else MOST)
        fields, changed, rewarding = dict(before.fields), [], before.pipeline
        threshold, units = threshold_of(len(experiment.config["arms"])), by_unit(rows)
        for name in _names(fields, rows) if rows else []:
            field = fields.get(name, WatchedField(began=rows[0].decided_at.isoformat()))
            fields[name], drift = see(name, field, rows, units, threshold)
            if drift is not None:
                changed.append(name)
                openings.open_drift(connection, experiment, drift)
        if rows:
            rewarding, troubles = pipeline.see(rewarding, rows, units, threshold)
            openings.settle_pipeline(connection, experiment, troubles, pipeline.newest(rewarding))
        cursor = rows[-1].settled_at.isoformat() if rows else before.cursor
        watched = WatchedContext(fields=fields, cursor=cursor, pipeline=rewarding).as_json()
        latest.put(connection, experiment.id, KIND, {"fields": len(fields)}, watched, time.monotonic() - began)
    return changed


def _names(known: dict[str, WatchedField], rows: Sequence[Row]) -> list[str]:
    """The fields to watch: the first ones that were seen, in the order of their names."""
    new = sorted({name for row in rows for name in _fields(row)} - known.keys())
    return [*known, *new][:MOST_FIELDS]


def _fields(row: Row) -> JsonObject:
    return row.context if isinstance(row.context, dict) else {}


def _value(value: object) -> Value:
    if value is None or type(value) is str or type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    return str(value) if isinstance(value, bool) else type(value).__name__


def see(
    name: str, field: WatchedField, rows: Sequence[Row], units: ByUnit, threshold: float
) -> tuple[WatchedField, Drift | None]:
    """Bring the watch of a field up to date; returns what it noticed.

    :param units: whose the rows are.
    """
    values = [_value(_fields(row).get(name)) for row in rows]
    age_s = (rows[-1].decided_at - datetime.fromisoformat(field.began)).total_seconds()
    if field.known.seen < ARM_AFTER or age_s < ARM_S:
        return field.model_copy(update={"known": grown(field.known, values)}), None
    batch = per_unit(units, [float(usual(field.known, value)) for value in values])
    seen = falls.observe(field.watch, batch.values, batch.times, margin=MARGIN, most=1.0)
    if len(seen.strength) and seen.strength.max() >= threshold:
        since = batch.values[batch.times >= seen.began]
        level = seen.level.mean if seen.level else 1.0
        gone = sum(value is None for value in values) > len(values) / 2
        what = (
            "Most decisions lack it."
            if gone
            else "It has other values than before. Did its unit or its meaning change?"
        )
        drift = Drift(
            name, datetime.fromtimestamp(seen.began, UTC), float(seen.strength.max()), level, float(since.mean()), what
        )
        return WatchedField(began=rows[0].decided_at.isoformat(), known=grown(Field(), values)), drift
    recent, known = [*field.recent, values], field.known
    while recent and sum(map(len, recent[1:])) >= LAG:
        known = grown(known, recent.pop(0))
    return field.model_copy(update={"known": known, "recent": recent, "watch": seen.watch}), None
